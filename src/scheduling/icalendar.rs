//! iCalendar (RFC 5545), as far as visits need it: a calendar of events with instants in UTC.
//!
//! **No health data.** A calendar goes to phones, employers and families. An event says when, where, and that it is an
//! appointment; not with whom, and not what for.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::availability::instant;
use super::state::State;
use super::visit;

/// Bytes of a line, without its end (section 3.1).
const LINE: usize = 75;

/// A visit, as a calendar shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The same in every file, so that a calendar knows the event again.
    uid: String,
    /// Grows with every change.
    sequence: i32,
    changed: Timestamp,
    start: Timestamp,
    end: Timestamp,
    status: &'static str,
    place: Option<String>,
}

impl Event {
    /// The event of an Appointment; `None` for one without a time.
    pub fn of(appointment: &Value, host: &str) -> Option<Event> {
        let time = visit::time(appointment)?;
        let meta = &appointment["meta"];
        let status = match State::of(appointment)? {
            State::Proposed | State::Waitlist | State::Held | State::EnteredInError => return None,
            State::PendingPayment | State::Requested => "TENTATIVE",
            State::Approved | State::Arrived | State::CheckedIn | State::Completed | State::NoShow => "CONFIRMED",
            State::Rejected | State::Cancelled => "CANCELLED",
        };
        let place = visit::participant(appointment, "Location").and_then(|place| place["actor"]["display"].as_str());
        Some(Event {
            uid: format!("{}@{host}", appointment["id"].as_str()?),
            sequence: meta["versionId"]
                .as_str()
                .and_then(|version| version.parse().ok())
                .unwrap_or(0),
            changed: meta["lastUpdated"].as_str()?.parse().ok()?,
            start: instant(time.start),
            end: instant(time.end),
            status,
            place: place.map(str::to_owned),
        })
    }
}

/// A file with these events. `link` leads to where more is told, after signing in.
pub fn calendar(events: &[Event], link: &str) -> String {
    let mut file = File::default();
    file.line("BEGIN", "VCALENDAR");
    file.line("VERSION", "2.0");
    file.line("PRODID", "-//MedConsult//Scheduling//EN");
    file.line("CALSCALE", "GREGORIAN");
    file.line("METHOD", "PUBLISH");
    file.line("REFRESH-INTERVAL;VALUE=DURATION", "PT1H");
    for event in events {
        file.line("BEGIN", "VEVENT");
        file.line("UID", &text(&event.uid));
        file.line("SEQUENCE", &event.sequence.to_string());
        file.line("DTSTAMP", &utc(event.changed));
        file.line("DTSTART", &utc(event.start));
        file.line("DTEND", &utc(event.end));
        file.line("SUMMARY", "Appointment");
        file.line("STATUS", event.status);
        if let Some(place) = &event.place {
            file.line("LOCATION", &text(place));
        }
        file.line("URL", link);
        file.line("END", "VEVENT");
    }
    file.line("END", "VCALENDAR");
    file.0
}

#[derive(Default)]
struct File(String);

impl File {
    /// A content line, folded where it is long: never inside of a character.
    fn line(&mut self, name: &str, value: &str) {
        let mut length = 0;
        for character in name.chars().chain([':']).chain(value.chars()) {
            if length + character.len_utf8() > LINE {
                self.0.push_str("\r\n ");
                length = 1;
            }
            self.0.push(character);
            length += character.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}

/// Section 3.3.11. Other control characters have no place in a text.
fn text(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' | ';' | ',' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\n' => escaped.push_str("\\n"),
            character if character.is_control() => {}
            character => escaped.push(character),
        }
    }
    escaped
}

/// Section 3.3.5, form 2.
fn utc(at: Timestamp) -> String {
    let mut written = String::new();
    // Writing to a String cannot fail.
    let _ = write!(written, "{}", at.strftime("%Y%m%dT%H%M%SZ"));
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn appointment() -> Value {
        json!({
            "resourceType": "Appointment", "id": "a", "status": "booked",
            "meta": {"versionId": "3", "lastUpdated": "2026-03-01T08:00:00.123Z"},
            "description": "Cough", "reasonCode": [{"text": "Cough"}],
            "start": "2026-03-29T03:00:00+02:00", "end": "2026-03-29T03:30:00+02:00",
            "participant": [
                {"actor": {"reference": "Patient/p", "display": "Ada"}, "status": "accepted"},
                {"actor": {"reference": "Practitioner/d", "display": "Dr. No"}, "status": "accepted"},
                {"actor": {"reference": "Location/l", "display": "Main St. 1; 2nd floor,\nleft"}, "status": "accepted"}]
        })
    }

    #[test]
    fn a_visit_is_an_event_without_what_it_is_about() {
        let event = Event::of(&appointment(), "clinic.example").unwrap();
        let file = calendar(&[event], "https://clinic.example");
        let expected = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//MedConsult//Scheduling//EN\r\nCALSCALE:GREGORIAN\r\n\
             METHOD:PUBLISH\r\nREFRESH-INTERVAL;VALUE=DURATION:PT1H\r\nBEGIN:VEVENT\r\nUID:a@clinic.example\r\nSEQUENCE:3\r\n\
             DTSTAMP:20260301T080000Z\r\nDTSTART:20260329T010000Z\r\nDTEND:20260329T013000Z\r\nSUMMARY:Appointment\r\n\
             STATUS:CONFIRMED\r\nLOCATION:Main St. 1\\; 2nd floor\\,\\nleft\r\nURL:https://clinic.example\r\nEND:VEVENT\r\n\
             END:VCALENDAR\r\n";
        assert_eq!(file, expected);
        for secret in ["Cough", "Ada", "Dr. No", "Patient", "Practitioner"] {
            assert!(!file.contains(secret), "{secret}");
        }
    }

    #[test]
    fn what_is_called_off_is_taken_out_of_calendars() {
        let mut cancelled = appointment();
        cancelled["status"] = json!("cancelled");
        assert_eq!(Event::of(&cancelled, "h").unwrap().status, "CANCELLED");
        cancelled["status"] = json!("pending");
        assert_eq!(Event::of(&cancelled, "h").unwrap().status, "TENTATIVE");
        cancelled["status"] = json!("entered-in-error");
        assert_eq!(Event::of(&cancelled, "h"), None);
    }

    #[test]
    fn long_lines_are_folded_between_characters() {
        let mut file = File::default();
        file.line("LOCATION", &"é".repeat(60));
        let lines: Vec<&str> = file.0.split("\r\n").collect();
        assert!(lines.iter().all(|line| line.len() <= LINE), "{lines:?}");
        let whole: String = lines
            .iter()
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .collect();
        assert_eq!(whole, format!("LOCATION:{}", "é".repeat(60)));
        assert_eq!(lines.len(), 3);
    }
}
