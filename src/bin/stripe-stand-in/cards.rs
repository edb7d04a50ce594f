//! Test cards (<https://docs.stripe.com/testing>), by their numbers and by the names of their payment methods.

use crate::answer::Fault;

/// What a card does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Card {
    /// Pays.
    Good,
    /// Pays; what goes back to it does not arrive.
    LosesRefunds,
    /// Is refused: an error code, and why.
    Refused(&'static str, Option<&'static str>),
}

/// Numbers, the payment methods that stand for them, and what they do.
const CARDS: [(&str, &str, Card); 10] = [
    ("4242424242424242", "pm_card_visa", Card::Good),
    ("5555555555554444", "pm_card_mastercard", Card::Good),
    ("4000000000005126", "pm_card_refundFail", Card::LosesRefunds),
    (
        "4000000000000002",
        "pm_card_visa_chargeDeclined",
        Card::Refused("card_declined", Some("generic_decline")),
    ),
    (
        "4000000000009995",
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        Card::Refused("card_declined", Some("insufficient_funds")),
    ),
    (
        "4000000000009987",
        "pm_card_visa_chargeDeclinedLostCard",
        Card::Refused("card_declined", Some("lost_card")),
    ),
    (
        "4000000000009979",
        "pm_card_visa_chargeDeclinedStolenCard",
        Card::Refused("card_declined", Some("stolen_card")),
    ),
    (
        "4000000000000069",
        "pm_card_chargeDeclinedExpiredCard",
        Card::Refused("expired_card", None),
    ),
    (
        "4000000000000127",
        "pm_card_chargeDeclinedIncorrectCvc",
        Card::Refused("incorrect_cvc", None),
    ),
    (
        "4000000000000119",
        "pm_card_chargeDeclinedProcessingError",
        Card::Refused("processing_error", None),
    ),
];

/// The number that a payer typed, or that a payment method stands for.
pub fn number(text: &str) -> String {
    let by_name = CARDS.iter().find(|(_, name, _)| *name == text);
    match by_name {
        Some((number, _, _)) => (*number).to_owned(),
        None => text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect(),
    }
}

/// What the card of that number does.
///
/// # Errors
/// For a number that no card has, as Checkout says it.
pub fn find(number: &str) -> Result<Card, Fault> {
    let known = CARDS.iter().find(|(known, _, _)| *known == number);
    known.map(|(_, _, card)| *card).ok_or_else(|| {
        let message = "This is no test card. Try 4242 4242 4242 4242.";
        Fault::card("incorrect_number", None, message)
    })
}

impl Card {
    /// What the payer is told, if it is refused.
    pub fn refusal(self) -> Option<Fault> {
        let Card::Refused(code, reason) = self else {
            return None;
        };
        let message = match (code, reason) {
            (_, Some("insufficient_funds")) => "Your card has insufficient funds.",
            ("expired_card", _) => "Your card has expired.",
            ("incorrect_cvc", _) => "Your card's security code is incorrect.",
            ("processing_error", _) => "An error occurred while processing your card. Try again in a little bit.",
            _ => "Your card was declined.",
        };
        Some(Fault::card(code, reason, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_known_by_number_and_by_name() {
        assert_eq!(find(&number("4242 4242-4242 4242")), Ok(Card::Good));
        assert_eq!(number("pm_card_visa_chargeDeclined"), "4000000000000002");
        let refusal = find("4000000000009995").unwrap().refusal().unwrap();
        assert_eq!(
            (refusal.status.as_u16(), &refusal.error["decline_code"]),
            (402, &"insufficient_funds".into())
        );
        assert_eq!(find("4111111111111111").unwrap_err().error["code"], "incorrect_number");
    }
}
