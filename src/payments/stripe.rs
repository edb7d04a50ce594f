//! Stripe, as far as this room needs it, by its own types: the rest of the room knows neither its client nor its JSON.
//!
//! Stripe learns how much, in which currency, and a number of ours. It learns nothing of whom or what a visit is about.
//!
//! Every request that changes something has an idempotency key that is made from what it is for, so that a request whose
//! answer was lost is sent again and does nothing twice (<https://docs.stripe.com/api/idempotent_requests>). Requests are
//! sent once: whoever asks is a job that runs again, or a person.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest};
use stripe_checkout::CheckoutSession;
use stripe_checkout::CheckoutSessionMode;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionLineItemsPriceData,
    CreateCheckoutSessionPaymentIntentData, ExpireCheckoutSession, ProductData, RetrieveCheckoutSession,
};
use stripe_core::payment_intent::RetrievePaymentIntent;
use stripe_core::refund::{CreateRefund, ListRefund};

use super::money::Money;
use crate::fhir::error::{FhirError, Issue, IssueType};

/// An answer that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is known of a payment at Stripe that is ours: the Invoice.
const INVOICE: &str = "invoice";

/// Refunds of one payment that are looked at; Stripe gives that many on a page.
const MOST_REFUNDS: i64 = 100;

/// The practice's account at Stripe.
pub struct Stripe {
    client: Client,
    /// What the payer reads.
    item: String,
}

/// A page on which somebody pays (<https://docs.stripe.com/api/checkout/sessions/object>).
#[derive(Clone, Debug)]
pub struct Session {
    pub id: String,
    /// Where it is, while it is open.
    pub url: Option<String>,
    /// Whether somebody can still pay there.
    pub is_open: bool,
    /// Whether it ended without a payment.
    pub is_over: bool,
    pub expires: Timestamp,
    /// The Invoice that it is for; `None` for one that is not ours.
    pub invoice: Option<String>,
    /// What was paid, once it is.
    pub paid: Option<Paid>,
}

/// Where a payer comes back to.
#[derive(Clone, Debug)]
pub struct Back {
    /// `{CHECKOUT_SESSION_ID}` in it is replaced by Stripe.
    pub paid: String,
    pub cancelled: String,
}

/// A payment that has arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paid {
    pub intent: String,
    pub amount: Money,
}

/// A try to pay (<https://docs.stripe.com/api/payment_intents/object>).
#[derive(Clone, Debug)]
pub struct Intent {
    pub invoice: Option<String>,
    /// What it is, or was, for.
    pub amount: Money,
    pub received: Money,
    /// Whether the last try was refused and nothing came since.
    pub has_failed: bool,
}

/// Money that went back (<https://docs.stripe.com/api/refunds/object>).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Returned {
    pub id: String,
    pub amount: Money,
    /// Whether it did not reach the payer in the end.
    pub has_failed: bool,
}

/// Why Stripe did not do something.
#[derive(Debug)]
pub enum Trouble {
    /// It said no, for this reason (a code of <https://docs.stripe.com/error-codes>, or a type of error).
    Refused { status: u16, code: String },
    /// It did not answer, or nothing that can be understood.
    Away,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused { status, code } => write!(f, "Stripe refuses: {status} {code}"),
            Trouble::Away => f.write_str("Stripe does not answer"),
        }
    }
}

impl From<StripeError> for Trouble {
    fn from(error: StripeError) -> Trouble {
        match error {
            // Its message may repeat what was sent, so only its code is kept.
            StripeError::Stripe(error, status) => {
                let code = error.code.as_ref().map(|code| code.as_str().to_owned());
                Trouble::Refused {
                    status,
                    code: code.unwrap_or_else(|| error.type_.as_str().to_owned()),
                }
            }
            StripeError::JSONDeserialize(_)
            | StripeError::ClientError(_)
            | StripeError::ConfigError(_)
            | StripeError::Timeout => Trouble::Away,
        }
    }
}

/// To whoever asked for something, it is the same whether the provider is away or at odds with us; the log knows more.
impl From<Trouble> for FhirError {
    fn from(trouble: Trouble) -> FhirError {
        tracing::warn!(%trouble, "the payment provider does not do what it is asked");
        let text = "The payment provider cannot do this now. Nothing was charged; try again in a moment.";
        FhirError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Issue::error(IssueType::Transient, text),
        )
    }
}

/// Whether a text is a number of Stripe's with that beginning: it goes into addresses.
pub fn is_number(text: &str, prefix: &str) -> bool {
    let rest = text.strip_prefix(prefix);
    rest.is_some_and(|rest| {
        (1..=200).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

impl Stripe {
    /// The account of this secret key, at `url` or at Stripe itself.
    ///
    /// # Errors
    /// When the key or the URL cannot be part of a request. Neither is repeated.
    pub fn new(key: &str, url: &str, item: &str) -> anyhow::Result<Stripe> {
        let mut builder = ClientBuilder::new(key).timeout(PATIENCE).app_info(
            "MedConsult",
            Some(env!("CARGO_PKG_VERSION").to_owned()),
            None,
        );
        if !url.is_empty() {
            builder = builder.url(url);
        }
        let client = builder.build();
        let client =
            client.map_err(|_| anyhow::anyhow!("payments.stripe_key or payments.stripe_url cannot be used"))?;
        Ok(Stripe {
            client,
            item: item.to_owned(),
        })
    }

    /// Opens a page for an invoice, after a `former` one that is over.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn open(
        &self,
        invoice: &str,
        amount: Money,
        expires: Timestamp,
        former: Option<&str>,
        back: &Back,
    ) -> Result<Session, Trouble> {
        let key = format!(
            "checkout-{invoice}-{}-{}",
            expires.as_second(),
            former.unwrap_or_default()
        );
        let refused = || Trouble::Refused {
            status: StatusCode::BAD_REQUEST.as_u16(),
            code: "amount_cannot_be_charged".to_owned(),
        };
        let code = amount.currency.code().to_lowercase();
        let currency = code.parse().unwrap_or_else(|never| match never {});
        let price = CreateCheckoutSessionLineItemsPriceData {
            currency,
            product: None,
            product_data: Some(ProductData::new(self.item.as_str())),
            recurring: None,
            tax_behavior: None,
            unit_amount: Some(amount.at_stripe().ok_or_else(refused)?),
            unit_amount_decimal: None,
        };
        let mut line = CreateCheckoutSessionLineItems::new();
        line.price_data = Some(price);
        line.quantity = Some(1);
        let mut intent = CreateCheckoutSessionPaymentIntentData::new();
        intent.metadata = Some(HashMap::from([(INVOICE.to_owned(), invoice.to_owned())]));
        let request = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Payment)
            .client_reference_id(invoice)
            .line_items(vec![line])
            .payment_intent_data(intent)
            .expires_at(expires.as_second())
            .success_url(back.paid.as_str())
            .cancel_url(back.cancelled.as_str());
        let request = request.customize().request_strategy(once(&key)?);
        Ok(request.send(&self.client).await?.into())
    }

    /// A page as it is now; `None` for one that this account does not know.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn session(&self, id: &str) -> Result<Option<Session>, Trouble> {
        known(RetrieveCheckoutSession::new(id).send(&self.client).await).map(|found| found.map(Session::from))
    }

    /// Closes a page that is open, so that nobody pays there any more.
    ///
    /// # Errors
    /// [`Trouble::Refused`] when it is not open.
    pub async fn close(&self, id: &str) -> Result<Session, Trouble> {
        Ok(ExpireCheckoutSession::new(id).send(&self.client).await?.into())
    }

    /// A try to pay as it is now; `None` for one that this account does not know.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn intent(&self, id: &str) -> Result<Option<Intent>, Trouble> {
        let Some(intent) = known(RetrievePaymentIntent::new(id).send(&self.client).await)? else {
            return Ok(None);
        };
        let currency = intent.currency.to_string();
        Ok(Some(Intent {
            invoice: intent.metadata.get(INVOICE).cloned(),
            amount: Money::from_stripe(intent.amount, &currency).ok_or(Trouble::Away)?,
            received: Money::from_stripe(intent.amount_received, &currency).ok_or(Trouble::Away)?,
            has_failed: intent.last_payment_error.is_some() && intent.status.as_str() == "requires_payment_method",
        }))
    }

    /// What went back of a payment.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn returned(&self, intent: &str) -> Result<Vec<Returned>, Trouble> {
        let page = ListRefund::new().payment_intent(intent).limit(MOST_REFUNDS);
        let page = page.send(&self.client).await?;
        page.data.into_iter().map(returned).collect()
    }

    /// Gives money back, of a payment of which `already` went back before.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn give_back(&self, intent: &str, amount: Money, already: Money) -> Result<Returned, Trouble> {
        let units = |money: Money| {
            money.at_stripe().ok_or_else(|| Trouble::Refused {
                status: StatusCode::BAD_REQUEST.as_u16(),
                code: "amount_cannot_be_charged".to_owned(),
            })
        };
        let key = format!("refund-{intent}-{}-{}", units(already)?, units(amount)?);
        let request = CreateRefund::new().payment_intent(intent).amount(units(amount)?);
        let refund = request.customize().request_strategy(once(&key)?).send(&self.client);
        returned(refund.await?)
    }
}

/// What there is, where Stripe knows of it.
fn known<T>(answer: Result<T, StripeError>) -> Result<Option<T>, Trouble> {
    match answer.map_err(Trouble::from) {
        Err(Trouble::Refused { status: 404, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

fn once(key: &str) -> Result<RequestStrategy, Trouble> {
    let key = IdempotencyKey::new(key).map_err(|_| Trouble::Away)?;
    Ok(RequestStrategy::Idempotent(key))
}

fn returned(refund: stripe_core::Refund) -> Result<Returned, Trouble> {
    let amount = Money::from_stripe(refund.amount, &refund.currency.to_string());
    Ok(Returned {
        id: refund.id.to_string(),
        amount: amount.ok_or(Trouble::Away)?,
        has_failed: matches!(refund.status.as_deref(), Some("failed" | "canceled")),
    })
}

impl From<CheckoutSession> for Session {
    fn from(session: CheckoutSession) -> Session {
        let amount = session.amount_total.zip(session.currency.as_ref());
        let amount = amount.and_then(|(amount, currency)| Money::from_stripe(amount, &currency.to_string()));
        let intent = session.payment_intent.as_ref().map(|intent| intent.id().to_string());
        let is = |name: &str| session.status.as_ref().is_some_and(|status| status.as_str() == name);
        let is_paid = session.payment_status.as_str() == "paid";
        Session {
            id: session.id.to_string(),
            is_open: is("open"),
            is_over: is("expired"),
            url: session.url.clone(),
            expires: Timestamp::from_second(session.expires_at).unwrap_or(Timestamp::MIN),
            invoice: session.client_reference_id.clone(),
            paid: intent
                .zip(amount)
                .filter(|_| is_paid)
                .map(|(intent, amount)| Paid { intent, amount }),
        }
    }
}
