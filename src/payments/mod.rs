//! Payments: what a visit costs, how it is paid by Stripe Checkout, and how money goes back.
//!
//! Everything is FHIR: ChargeItemDefinition (the price), ChargeItem and Invoice (what is to be paid), PaymentReconciliation and
//! PaymentNotice (what came, what went back). This room has no tables: what is true about a payment is at Stripe, what follows from
//! it is in the resources, and whatever was lost on the way is found by asking again.
//!
//! | file | concern |
//! |---|---|
//! | [`money`] | exact amounts. Pure |
//! | [`price`] | what a visit costs and what goes back, by policy. Pure |
//! | [`stripe`] | the provider, by its own types |
//! | [`signature`] | whether a webhook is Stripe's. Pure |
//! | [`till`] | what all of it works with |
//! | [`bill`], [`receipts`], [`visit`] | the resources: made, read, changed |
//! | [`checkout`] | `$pay` |
//! | [`settle`], [`rebook`] | a payment that has arrived, in time or too late |
//! | [`refund`] | `$refund`, and money that goes back by itself |
//! | [`follow`] | what follows for the money when a visit moves |
//! | [`guard`] | what holds whoever writes |
//! | [`webhook`], [`jobs`] | what causes a look at Stripe |
//! | [`operations`] | the two operations |
//! | [`names`] | URLs |

pub mod bill;
pub mod checkout;
pub mod follow;
pub mod guard;
pub mod jobs;
pub mod money;
pub mod names;
pub mod operations;
pub mod price;
pub mod rebook;
pub mod receipts;
pub mod refund;
pub mod settle;
pub mod signature;
pub mod stripe;
pub mod till;
pub mod visit;
pub mod webhook;
