//! The operations of this room: [`Appointment/[id]/$pay`](super::checkout) and [`Invoice/[id]/$refund`](super::refund).

use futures::future::BoxFuture;
use serde_json::Value;

use super::till::Shared;
use super::{checkout, refund};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::server::FhirServer;
use crate::knowledge::profiles;

/// Both of them.
pub fn all(payments: &Shared) -> Vec<Box<dyn Operation>> {
    vec![Box::new(Pay(payments.clone())), Box::new(Refund(payments.clone()))]
}

struct Pay(Shared);

impl Operation for Pay {
    fn definition(&self) -> &Value {
        profiles::operation("appointment-pay")
    }

    fn judges_its_caller(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move { checkout::run(server, caller, &self.0, &input).await })
    }
}

struct Refund(Shared);

impl Operation for Refund {
    fn definition(&self) -> &Value {
        profiles::operation("invoice-refund")
    }

    fn judges_its_caller(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move { refund::run(server, caller, &self.0, &input).await })
    }
}
