//! More frames than anybody needs.

use std::time::Duration;

use super::{PATIENCE, Victim};
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, Raw, SETTINGS, frame, request,
};

/// How long a flood goes on that is bounded and not ended.
const FLOOD: Duration = Duration::from_secs(3);
const WINDOW: u32 = 65_535;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_at_once_are_endured() {
    // CVE-2023-44487.
    let victim = Victim::start().await;
    let block = request("GET", "/openapi.json", &[]);
    victim
        .endures(async {
            let mut raw = Raw::connect(victim.address(), WINDOW).await;
            let begun = std::time::Instant::now();
            while begun.elapsed() < FLOOD {
                let mut burst = Vec::new();
                for _ in 0..100 {
                    let stream = raw.stream();
                    burst.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
                    burst.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
                }
                match tokio::time::timeout(FLOOD, raw.write(&burst)).await {
                    Ok(Ok(())) => {}
                    // Thrown out, or kept waiting.
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_never_end_end_the_connection() {
    // CVE-2024-27316: CONTINUATION without END_HEADERS, empty or full.
    let victim = Victim::start().await;
    for payload in [0, 16_384] {
        victim
            .endures(async {
                let mut raw = Raw::connect(victim.address(), WINDOW).await;
                let stream = raw.stream();
                let begin = frame(HEADERS, END_STREAM, stream, &request("GET", "/healthz", &[]));
                raw.write(&begin).await.expect("the beginning is taken");
                let filler = crate::support::h2::block(&[("x-filler", &"a".repeat(16_000))]);
                let part = if payload == 0 { Vec::new() } else { filler };
                let (_, is_ended) = raw.flood(&frame(CONTINUATION, 0, stream, &part), PATIENCE).await;
                assert!(is_ended, "parts of {payload} bytes");
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_frames_without_data_are_bounded() {
    let victim = Victim::start().await;
    victim
        .endures(async {
            let mut raw = Raw::connect(victim.address(), WINDOW).await;
            let stream = raw.stream();
            let head =
                request("POST", "/tributary.v1.SourceService/ListSources", &[("content-type", "application/grpc")]);
            raw.write(&frame(HEADERS, END_HEADERS, stream, &head)).await.expect("the head is taken");
            let empty = frame(DATA, 0, stream, &[]).repeat(100);
            let (times, is_ended) = raw.flood(&empty, PATIENCE).await;
            assert!(is_ended, "{times} hundred empty frames were taken");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_settings_come_at_our_pace() {
    let victim = Victim::start().await;
    let floods = [("pings", frame(PING, 0, 0, &[7; 8])), ("settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))];
    for (which, one) in floods {
        let many = one.repeat(100);
        let acknowledged = victim
            .endures(async {
                let mut raw = Raw::connect(victim.address(), WINDOW).await;
                raw.acknowledged(&many, FLOOD).await
            })
            .await;
        // A thousand at once and a thousand a second; without a budget there are many
        // thousands a second.
        let most = 1_000 + 1_000 * (FLOOD.as_secs() as usize + 1);
        assert!((500..most).contains(&acknowledged), "{acknowledged} {which} were answered in {FLOOD:?}");
    }
}
