//! Subtitles: what is said, without numbers and times.

use super::Content;

/// SubRip and WebVTT.
pub(super) fn content(media_type: &'static str, text: &str) -> Content {
    let mut body = String::new();
    for block in text.replace("\r\n", "\n").split("\n\n") {
        let lines: Vec<&str> = block.lines().collect();
        // What comes before the time is a number or name, and a block without one is
        // a head, a style or a remark.
        let Some(time) = lines.iter().position(|line| line.contains("-->")) else { continue };
        for line in &lines[time + 1..] {
            let line = without_tags(line);
            if !line.trim().is_empty() {
                body.push_str(line.trim());
                body.push('\n');
            }
        }
    }
    if body.is_empty() {
        text.clone_into(&mut body);
    }
    Content::text(media_type, None, body)
}

fn without_tags(line: &str) -> String {
    let mut parts = line.split('<');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('>') {
            Some((_, after)) => text.push_str(after),
            None => text.push_str(part),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_is_left() {
        let vtt = "WEBVTT\n\nNOTE x\n\nSTYLE\n::cue {}\n\n1\n00:01.000 --> 00:02.000\n<v Ada>Dry the <i>tent</i>.\n\n00:03.000 --> 00:04.000\nNow!\n";
        assert_eq!(content("text/vtt", vtt).body, "Dry the tent.\nNow!\n");
        assert_eq!(content("application/x-subrip", "1\r\n00:00:01,0 --> 00:00:02,0\r\nHi\r\n").body, "Hi\n");
        assert_eq!(content("text/vtt", "no times").body, "no times");
    }
}
