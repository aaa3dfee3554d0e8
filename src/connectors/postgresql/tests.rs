//! What a server sends, tampered with.

mod fuzz {
    use bytes::Bytes;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use crate::connectors::postgresql::guard::{Guarded, LARGEST_PIECE};
    use crate::connectors::postgresql::line;
    use crate::tests::{corpus, fuzz, tampered};

    #[test]
    fn a_line_of_a_copy_is_taken_apart_or_refused() {
        let inputs = (tampered(corpus("tests/corpus/copy")), 0..6_usize);
        fuzz("copy", inputs, |(bytes, columns)| {
            let bytes = Bytes::from(bytes);
            if let Ok(fields) = line::fields(&bytes, columns) {
                prop_assert_eq!(fields.len(), columns);
                for (position, field) in fields.iter().enumerate() {
                    let mut json = String::new();
                    prop_assert!(line::push_json(&bytes, position, &mut json).is_ok());
                    // Both ways of reading a field see the same.
                    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
                    prop_assert_eq!(value.as_str(), field.as_deref());
                }
            }
            if let Ok((rest, _)) = line::without_place(&bytes) {
                prop_assert!(rest.len() < bytes.len());
            }
            Ok(())
        });
    }

    #[test]
    fn the_guard_lets_pass_what_it_was_given_or_stops() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let inputs = (tampered(corpus("tests/corpus/backend")), 1..70_usize, any::<bool>());
        fuzz("messages of a server", inputs, |(bytes, piece, is_encrypted)| {
            let guarded = |piece: usize| {
                let pieces: Vec<_> =
                    bytes.chunks(piece).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
                let stream = tokio_util::io::StreamReader::new(futures::stream::iter(pieces));
                let mut out = Vec::new();
                let mut guarded = Guarded::new(stream, is_encrypted, LARGEST_PIECE);
                let ended = runtime.block_on(guarded.read_to_end(&mut out)).is_ok();
                (out, ended)
            };
            let (out, ended) = guarded(piece);
            prop_assert!(bytes.starts_with(&out), "what comes out went in");
            // However it is cut.
            prop_assert_eq!((out, ended), guarded(1 << 20));
            Ok(())
        });
    }
}
