//! Mail made to break what takes it apart.

/// Files by name; each is small.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    let multiparts: String =
        (0..60_000).map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n")).collect();
    let head = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n";
    let in_base64 =
        |content: &str| format!("Subject: x\nContent-Transfer-Encoding: base64\nContent-Type: {content}\n\n");
    let texts: Vec<(&str, String)> = vec![
        ("multiparts.eml", format!("Subject: x\n{multiparts}")),
        (
            "same-boundary.eml",
            format!("Subject: x\n{}", "Content-Type: multipart/mixed; boundary=b\n\n--b\n".repeat(80_000)),
        ),
        ("messages.eml", format!("Subject: x\n{}", "Content-Type: message/rfc822\n\n".repeat(140_000))),
        (
            "digest.eml",
            format!("Subject: x\nContent-Type: multipart/digest; boundary=b\n\n{}", "--b\n\nA: b\n".repeat(300_000)),
        ),
        ("parts.eml", format!("{head}{}", "--b\n\n".repeat(800_000))),
        (
            "attachments.eml",
            format!("{head}{}", "--b\nContent-Disposition: attachment; filename=a.html\n\n<div><a>\n".repeat(70_000)),
        ),
        ("long-header.eml", format!("Subject: {}\n\nx", "a".repeat(4 << 20))),
        ("folded-header.eml", format!("Subject: {}\n\nx", "a\n ".repeat(1 << 20))),
        ("headers.eml", format!("{}\n\nx", "A: b\n".repeat(800_000))),
        ("unknown-headers.eml", (0..200_000).map(|number| format!("X-{number}: {number}\n")).collect()),
        ("addresses.eml", format!("To: {}\n\nx", "a <a@b>, ".repeat(500_000))),
        ("groups.eml", format!("To: {}\n\nx", "a: b; ".repeat(700_000))),
        ("comments.eml", format!("To: {}\nDate: {}\n\nx", "(".repeat(2 << 20), "(".repeat(2 << 20))),
        ("words.eml", format!("Subject: {}\n\nx", "=?utf-8?Q?a?= ".repeat(300_000))),
        ("open-words.eml", format!("Subject: {}\n\nx", "=?utf-8?B?".repeat(400_000))),
        ("parameters.eml", format!("Content-Type: text/plain{}\n\nx", "; a*0*=utf-8''%41".repeat(250_000))),
        (
            "boundary.eml",
            format!("Content-Type: multipart/mixed; boundary=\"{}\"\n\n{}", "-".repeat(70_000), "-".repeat(2 << 20)),
        ),
        ("garbage.eml", format!("{}{}", in_base64("application/pdf; name=a.pdf"), "!=/+\n".repeat(800_000))),
        ("quoted.eml", format!("Content-Transfer-Encoding: quoted-printable\n\n{}", "=\n=ZZ=".repeat(600_000))),
        ("utf-7.eml", format!("Content-Type: text/plain; charset=utf-7\n\n{}", "+AAA-+".repeat(600_000))),
        ("iso-2022.eml", format!("Content-Type: text/plain; charset=iso-2022-jp\n\n{}", "\u{1b}$B".repeat(900_000))),
        ("escape.eml", "Subject: \u{1b}]0;title\u{7}\nFrom: \u{1b}[2J\n\n\u{1b}[2J\n".to_owned()),
        ("froms.mbox", "From a\n".repeat(600_000)),
        ("quoted-froms.mbox", format!("From a\n{}", ">From \n".repeat(600_000))),
        ("letters.mbox", "From a\nSubject: x\n\nx\n".repeat(200_000)),
    ];
    texts.into_iter().map(|(name, text)| (name, text.replace('\n', "\r\n").into_bytes())).collect()
}
