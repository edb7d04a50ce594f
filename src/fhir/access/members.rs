//! Which resources are about a patient.
//!
//! Those in the patient's compartment (<https://hl7.org/fhir/R4/compartmentdefinition-patient.html>), and, since R4's
//! definition forgot them, those of other types that have a search parameter `patient`: Device, Task and a few more.

use crate::knowledge::definitions::{Definitions, SearchParameterType};

/// The codes of the search parameters by which resources of a type refer to the patients that they are about; none where
/// they are about nobody. A Patient is about itself besides.
pub fn patient_parameters(definitions: &'static Definitions, resource_type: &str) -> Vec<&'static str> {
    let compartment = definitions
        .compartments
        .iter()
        .find(|compartment| compartment.code == "Patient");
    if let Some(codes) = compartment.and_then(|compartment| compartment.members.get(resource_type)) {
        return codes.iter().map(String::as_str).collect();
    }
    let is_patient = |base: &str| base == resource_type;
    let parameters = definitions.search_parameters.iter();
    parameters
        .filter(|parameter| parameter.code == "patient" && parameter.kind == SearchParameterType::Reference)
        .filter(|parameter| parameter.base.iter().any(|base| is_patient(base)))
        .map(|parameter| parameter.code.as_str())
        .take(1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compartments_and_patient_parameters_tell() {
        let codes = |resource_type| patient_parameters(Definitions::r4(), resource_type);
        assert_eq!(codes("Observation"), ["subject", "performer"]);
        assert_eq!(codes("Patient"), ["link"]);
        assert_eq!(codes("Task"), ["patient"]);
        assert_eq!(codes("Device"), ["patient"]);
        assert_eq!(codes("Organization"), [""; 0]);
    }
}
