//! Mails that come back: delivery status notifications (RFC 3464, in a `multipart/report` of RFC 6522).
//!
//! A mail server delivers them to a program, `medconsult mail bounce`, which finds in them the Message-ID of the mail that came
//! back. That is random and known to nobody but its recipient, so what a stranger sends there changes nothing.

/// Of a notification, which quotes the mail that it is about; longer ones are no notifications of our mails.
pub const LONGEST: usize = 1 << 20;

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// In front of the `@` of the Message-ID.
    pub message_id: String,
    /// The status code of RFC 3463, as `5.1.1`.
    pub status: String,
}

/// The mail that this notification says was not delivered. `None` for what is none, or says that there is still hope.
pub fn read(notification: &[u8]) -> Option<Bounce> {
    let text = String::from_utf8_lossy(notification.get(..notification.len().min(LONGEST))?);
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n")?;
    let content_type = field(head, "content-type")?;
    if !content_type.to_ascii_lowercase().starts_with("multipart/report") {
        return None;
    }
    let boundary = format!("--{}", parameter(&content_type, "boundary")?);
    let parts: Vec<(String, &str, &str)> = body
        .split(boundary.as_str())
        .skip(1)
        .map(|part| part.trim_start_matches('\n'))
        .filter_map(|part| {
            let (head, body) = part.split_once("\n\n")?;
            Some((field(head, "content-type")?.to_ascii_lowercase(), head, body))
        })
        .collect();
    let of = |types: &[&str]| {
        let found = parts
            .iter()
            .find(|(kind, ..)| types.iter().any(|wanted| kind.starts_with(wanted)));
        found.map(|(_, _, body)| *body)
    };
    let report = of(&["message/delivery-status", "message/global-delivery-status"])?;
    // One group of fields about the message, then one about each recipient; ours have one.
    let recipient = report.split("\n\n").find(|group| field(group, "action").is_some())?;
    if !field(recipient, "action")?.eq_ignore_ascii_case("failed") {
        return None;
    }
    let status = field(recipient, "status")?;
    let status: String = status.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let returned = of(&[
        "message/rfc822",
        "text/rfc822-headers",
        "message/global",
        "message/rfc822-headers",
    ])?;
    let head = returned.split("\n\n").next()?;
    let id = field(head, "message-id")?;
    let (local, _) = id.trim_matches(['<', '>']).split_once('@')?;
    let is_ours = local.len() == 43
        && local
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_ours.then(|| Bounce {
        message_id: local.to_owned(),
        status,
    })
}

/// The value of a header field, unfolded.
fn field(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines();
    let first = lines.by_ref().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })?;
    let folded = lines.take_while(|line| line.starts_with([' ', '\t']));
    let value = folded.fold(first, |value, line| format!("{value} {}", line.trim()));
    Some(value.trim().to_owned())
}

/// A parameter of a content type, without its quotes.
fn parameter(content_type: &str, name: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789abc";

    fn notification(action: &str, id: &str) -> String {
        format!(
            "From: MAILER-DAEMON@mx.example\r\nTo: no-reply@clinic.example\r\nSubject: Undelivered\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"xyz/1\"\r\nMIME-Version: 1.0\r\n\r\n\
             This is a MIME message.\r\n\r\n--xyz/1\r\nContent-Type: text/plain\r\n\r\nI am sorry.\r\n\r\n\
             --xyz/1\r\nContent-Description: report\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; mx.example\r\nArrival-Date: Mon, 2 Mar 2026 10:00:00 +0000\r\n\r\n\
             Final-Recipient: rfc822; ada@clinic.example\r\nAction: {action}\r\nStatus: 5.1.1 (no such user)\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n\
             --xyz/1\r\nContent-Type: message/rfc822\r\n\r\nFrom: no-reply@clinic.example\r\nMessage-ID:\r\n <{id}@clinic.example>\r\n\
             Subject: A visit\r\n\r\nMessage-ID: <not-this@clinic.example>\r\n--xyz/1--\r\n"
        )
    }

    #[test]
    fn a_notification_names_the_mail_that_came_back() {
        let bounce = read(notification("failed", ID).as_bytes()).unwrap();
        assert_eq!((bounce.message_id.as_str(), bounce.status.as_str()), (ID, "5.1.1"));
        let headers_only = notification("Failed", ID).replace("message/rfc822", "text/rfc822-headers");
        assert!(read(headers_only.as_bytes()).is_some());
    }

    #[test]
    fn what_is_no_bounce_of_ours_is_none() {
        for action in ["delayed", "delivered", "relayed", "expanded", ""] {
            assert_eq!(read(notification(action, ID).as_bytes()), None, "{action}");
        }
        assert_eq!(read(notification("failed", "somebody-elses").as_bytes()), None);
        let plain = notification("failed", ID).replace("multipart/report", "multipart/mixed");
        assert_eq!(read(plain.as_bytes()), None);
        for junk in ["", "\r\n\r\n", "Content-Type: multipart/report\r\n\r\nx", "a: b"] {
            assert_eq!(read(junk.as_bytes()), None, "{junk:?}");
        }
        // Cut anywhere, it is read without a fault.
        let whole = notification("failed", ID);
        for end in 0..whole.len() {
            let _ = read(&whole.as_bytes()[..end]);
        }
    }
}
