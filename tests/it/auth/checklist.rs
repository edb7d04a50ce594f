//! Which tests show that a refusal holds, and that what the public test kits for SMART and for certification look at is there:
//! by the number of the refusal, and by the name of a kit's test. Kits run several editions of one test; each is here once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const REFUSALS: [(u8, &[&str]); 34] = [
    (
        1,
        &[
            "requests_that_name_no_registered_application_end_at_a_page",
            "people_are_sent_back_to_registered_addresses_only",
        ],
    ),
    (
        2,
        &[
            "requests_that_name_no_registered_application_end_at_a_page",
            "addresses_that_can_be_trusted_are_registered",
        ],
    ),
    (3, &["requests_that_name_no_registered_application_end_at_a_page"]),
    (4, &["other_wrong_requests_go_back_with_the_reason"]),
    (5, &["other_wrong_requests_go_back_with_the_reason"]),
    (6, &["other_wrong_requests_go_back_with_the_reason"]),
    (7, &["other_wrong_requests_go_back_with_the_reason"]),
    (
        8,
        &[
            "a_launch_is_for_one_application_one_session_and_some_minutes",
            "an_application_is_opened_about_a_patient_and_a_visit",
        ],
    ),
    (9, &["other_wrong_requests_go_back_with_the_reason"]),
    (
        10,
        &[
            "other_wrong_requests_go_back_with_the_reason",
            "what_is_asked_for_beyond_the_registration_is_left_out",
            "what_two_lists_have_in_common_is_within_both",
            "scopes_beyond_the_registration_or_that_nobody_understands_are_refused",
            "what_is_malformed_or_unknown_is_refused",
            "a_list_covers_what_allows_no_more",
        ],
    ),
    (
        11,
        &[
            "a_decision_is_taken_on_our_page_about_what_it_showed",
            "a_tick_that_was_not_on_the_page_is_refused",
            "forms_that_are_not_ours_are_refused",
        ],
    ),
    (12, &["who_is_not_signed_in_signs_in_first"]),
    (
        13,
        &[
            "a_code_needs_its_verifier_its_client_and_its_address",
            "the_verifier_of_the_standard_fits",
        ],
    ),
    (14, &["other_wrong_requests_go_back_with_the_reason"]),
    (15, &["a_code_is_changed_once_and_the_second_use_ends_everything"]),
    (16, &["a_code_needs_its_verifier_its_client_and_its_address"]),
    (17, &["a_code_needs_its_verifier_its_client_and_its_address"]),
    (18, &["a_code_needs_its_verifier_its_client_and_its_address"]),
    (
        19,
        &[
            "an_application_with_a_secret_proves_it_in_one_way",
            "a_code_needs_its_verifier_its_client_and_its_address",
        ],
    ),
    (
        20,
        &[
            "requests_that_are_not_as_they_must_be_are_refused",
            "an_application_with_a_secret_proves_it_in_one_way",
        ],
    ),
    (21, &["signatures_that_do_not_fit_are_refused"]),
    (
        22,
        &[
            "signatures_that_do_not_fit_are_refused",
            "a_client_signs_with_the_keys_at_its_address",
        ],
    ),
    (23, &["claims_that_do_not_fit_are_refused", "other_claims_are_refused"]),
    (24, &["an_assertion_is_good_once"]),
    (25, &["claims_that_do_not_fit_are_refused", "other_claims_are_refused"]),
    (
        26,
        &[
            "claims_that_do_not_fit_are_refused",
            "an_assertion_may_name_the_issuer_and_the_client",
        ],
    ),
    (
        27,
        &[
            "signatures_that_do_not_fit_are_refused",
            "a_client_signs_with_the_keys_at_its_address",
            "addresses_that_redirect_fail_or_send_too_much_give_no_keys",
            "private_addresses_are_not_asked_unless_the_settings_say_so",
            "private_addresses_are_told_from_public_ones",
            "names_of_private_addresses_lead_nowhere",
        ],
    ),
    (
        28,
        &[
            "scopes_beyond_the_registration_or_that_nobody_understands_are_refused",
            "a_back_end_gets_what_it_was_registered_for",
        ],
    ),
    (
        29,
        &["refresh_tokens_are_changed_each_time_and_a_stolen_one_ends_the_family"],
    ),
    (
        30,
        &[
            "a_refresh_token_ends_with_its_client_its_person_their_consent_and_in_time",
            "refresh_tokens_are_changed_each_time_and_a_stolen_one_ends_the_family",
        ],
    ),
    (
        31,
        &["refresh_tokens_are_changed_each_time_and_a_stolen_one_ends_the_family"],
    ),
    (
        32,
        &[
            "access_is_taken_away_by_person_application_and_password",
            "a_closed_account_is_closed_and_the_record_stays",
            "a_disabled_client_is_out_at_once",
        ],
    ),
    (
        33,
        &[
            "a_token_of_a_person_can_be_looked_at",
            "a_token_can_be_looked_at_and_given_back",
        ],
    ),
    (
        34,
        &[
            "without_a_token_nothing_is_answered",
            "what_is_no_token_opens_nothing",
            "who_is_not_signed_in_signs_in_first",
        ],
    ),
];

const KITS: &[(&str, &str)] = &[
    // 1: discovery
    ("well_known_endpoint", "discovery_lists_what_is_there"),
    ("well_known_capabilities_stu2", "whole_sets_of_capabilities_are_there"),
    (
        "g10_smart_well_known_capabilities",
        "whole_sets_of_capabilities_are_there",
    ),
    (
        "us_core_smart_well_known_capabilities",
        "whole_sets_of_capabilities_are_there",
    ),
    ("smart_cors_well_known_endpoint", "discovery_lists_what_is_there"),
    ("smart_discovery: CapabilityStatement", "discovery_lists_what_is_there"),
    (
        "bulk_data_smart_discovery_v101_contents",
        "discovery_lists_what_is_there",
    ),
    ("us_core_conformance_support", "discovery_lists_what_is_there"),
    // 2: standalone launch
    ("smart_app_redirect", "a_patient_is_found_by_name_birth_date_and_number"),
    (
        "smart_app_redirect by POST",
        "a_request_that_comes_as_a_form_of_another_site_is_answered_like_a_link",
    ),
    ("smart_code_received", "every_kind_of_application_is_let_in"),
    ("smart_token_exchange", "every_kind_of_application_is_let_in"),
    ("smart_token_response_body", "every_kind_of_application_is_let_in"),
    (
        "smart_token_response_headers",
        "a_back_end_gets_what_it_was_registered_for",
    ),
    (
        "g10_patient_context",
        "npm_fhirclient_is_let_in_by_a_patient_in_a_browser",
    ),
    ("g10_unauthorized_access", "without_a_token_nothing_is_answered"),
    ("g10_smart_scopes", "npm_fhirclient_is_let_in_by_a_patient_in_a_browser"),
    (
        "g10_unrestricted_resource_type_access",
        "a_patient_opens_their_own_record_and_no_other",
    ),
    (
        "g10_limited_scope_grant",
        "npm_fhirclient_is_let_in_by_a_patient_in_a_browser",
    ),
    (
        "g10_restricted_resource_type_access",
        "a_type_that_was_not_let_in_answers_403",
    ),
    ("g10_smart_invalid_aud", "other_wrong_requests_go_back_with_the_reason"),
    (
        "g10_smart_invalid_token_request_stu2",
        "a_code_needs_its_verifier_its_client_and_its_address",
    ),
    ("G-AUT-PAT-12", "a_person_refuses_or_leaves_out_what_they_like"),
    // 3: EHR launch
    (
        "smart_app_launch",
        "an_application_is_opened_about_a_patient_and_a_visit",
    ),
    (
        "smart_launch_received",
        "an_application_is_opened_about_a_patient_and_a_visit",
    ),
    (
        "g10_encounter_context",
        "npm_fhirclient_is_opened_by_a_practitioner_in_a_browser",
    ),
    (
        "g10_smart_style_url",
        "a_patient_is_found_by_name_birth_date_and_number",
    ),
    ("g10_smart_need_patient_banner", "our_own_application_launches_others"),
    (
        "S100 online_access",
        "access_ends_with_the_session_unless_it_was_to_outlive_it",
    ),
    // 4: PKCE
    (
        "smart_no_code_verifier",
        "a_code_needs_its_verifier_its_client_and_its_address",
    ),
    (
        "smart_blank_code_verifier",
        "a_code_needs_its_verifier_its_client_and_its_address",
    ),
    (
        "smart_bad_code_verifier",
        "a_code_needs_its_verifier_its_client_and_its_address",
    ),
    (
        "smart_plain_code_verifier",
        "a_code_needs_its_verifier_its_client_and_its_address",
    ),
    // 5: kinds of clients
    (
        "g10_public_standalone_launch",
        "npm_fhirclient_is_let_in_by_a_patient_in_a_browser",
    ),
    ("symmetric", "pypi_authlib_is_let_in_with_a_secret_and_with_a_key"),
    (
        "g10_asymmetric_launch",
        "npm_openid_client_signs_with_keys_at_its_own_address",
    ),
    ("S326 jku", "a_client_signs_with_the_keys_at_its_address"),
    (
        "S341 cache-control",
        "keys_are_kept_as_long_as_their_answer_says_and_asked_for_when_one_is_new",
    ),
    // 6: OpenID Connect
    ("smart_openid_decode_id_token", "every_kind_of_application_is_let_in"),
    (
        "smart_openid_required_configuration_fields",
        "whole_sets_of_capabilities_are_there",
    ),
    ("smart_openid_retrieve_jwks", "whole_sets_of_capabilities_are_there"),
    ("smart_openid_token_header", "every_kind_of_application_is_let_in"),
    (
        "smart_openid_token_payload",
        "npm_openid_client_signs_with_keys_at_its_own_address",
    ),
    (
        "smart_openid_fhir_user_claim",
        "whoever_is_named_by_fhir_user_can_be_read",
    ),
    // 7: refresh
    (
        "smart_token_refresh",
        "npm_fhirclient_is_let_in_by_a_patient_in_a_browser",
    ),
    (
        "g10_token_refresh_with_scopes",
        "refresh_tokens_are_changed_each_time_and_a_stolen_one_ends_the_family",
    ),
    (
        "g10_invalid_token_refresh",
        "refresh_tokens_are_changed_each_time_and_a_stolen_one_ends_the_family",
    ),
    // 8: introspection
    (
        "smart_token_introspection_response_group",
        "npm_openid_client_signs_with_keys_at_its_own_address",
    ),
    (
        "smart_token_introspection_request_group",
        "a_token_can_be_looked_at_and_given_back",
    ),
    // 9: revocation
    (
        "g10_token_revocation",
        "access_is_taken_away_by_person_application_and_password",
    ),
    // 10: scopes of the first form
    ("g10_smart_v1_scopes", "pypi_fhirclient_launches_and_reads_a_record"),
    ("S126", "both_forms_are_understood"),
    // 11: scopes of the second form
    (
        "us_core_granted_granular_scopes",
        "a_part_of_a_type_is_all_that_is_seen_of_it",
    ),
    (
        "us_core_v700_Observation_granular_scope_read_test",
        "a_part_of_a_type_is_all_that_is_seen_of_it",
    ),
    ("g10_smart_granular_scope_selection", "a_category_is_let_in_alone"),
    ("S130", "a_token_opens_what_its_letters_say"),
    // 12: back ends
    (
        "smart_backend_services_invalid_grant_type",
        "requests_that_are_not_as_they_must_be_are_refused",
    ),
    (
        "smart_backend_services_invalid_client_assertion",
        "requests_that_are_not_as_they_must_be_are_refused",
    ),
    (
        "smart_backend_services_invalid_jwt",
        "signatures_that_do_not_fit_are_refused",
    ),
    (
        "smart_backend_services_auth_request_success",
        "pypi_authlib_is_let_in_with_a_secret_and_with_a_key",
    ),
    (
        "smart_backend_services_auth_response_body",
        "a_back_end_gets_what_it_was_registered_for",
    ),
];

/// The names of all test functions of identity.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> = ["tests/it/auth", "src/auth", "src/base"]
        .map(|folder| root.join(folder))
        .into();
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let after_attributes = text.split("test]\n").skip(1);
            names.extend(after_attributes.filter_map(|rest| {
                let (_, rest) = rest.lines().next()?.split_once("fn ")?;
                Some(rest.split('(').next()?.to_owned())
            }));
        }
    }
    names
}

#[test]
fn every_refusal_and_every_box_has_a_test() {
    let tests = tests();
    let named = REFUSALS.iter().flat_map(|(_, names)| names.iter());
    let missing: Vec<&&str> = named
        .chain(KITS.iter().map(|(_, name)| name))
        .filter(|name| !tests.contains(**name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let numbers: Vec<u8> = REFUSALS.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=34).collect::<Vec<u8>>());
}
