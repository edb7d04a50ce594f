//! Days in words.

use jiff::civil::Date;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The day of a date or dateTime that has one, as it was written down.
pub fn date(text: &str) -> Option<Date> {
    text.get(..10)?.parse().ok()
}

/// `1 December 2026`, which no country reads as the 12th of January; what is less than a day, as it is.
pub fn words(text: &str) -> String {
    date(text).map_or_else(|| text.to_owned(), in_words)
}

pub fn in_words(date: Date) -> String {
    let month = MONTHS[(date.month() - 1) as usize];
    format!("{} {month} {}", date.day(), date.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_so_that_nobody_turns_it_round() {
        assert_eq!(words("2026-12-01"), "1 December 2026");
        assert_eq!(words("2026-02-03T23:30:00+05:30"), "3 February 2026");
        assert_eq!(words("2026-02"), "2026-02");
        assert_eq!(date("2026-02-30"), None);
    }
}
