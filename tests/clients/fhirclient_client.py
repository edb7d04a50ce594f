"""PyPI's `fhirclient`: finds the endpoints in the CapabilityStatement, launches, reads, refreshes."""

from fhirclient.client import FHIRClient
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient

from lines import hear, run, say


def main():
    wish = hear()
    smart = FHIRClient(
        settings={
            "app_id": wish["client"],
            "api_base": wish["base"],
            "redirect_uri": wish["redirect"],
            "scope": wish["scope"],
            "launch_token": wish.get("launch"),
        }
    )
    smart.server.session.trust_env = False
    assert not smart.ready
    smart.prepare()
    say({"open": smart.authorize_url})
    smart.handle_callback(hear()["back"])
    found = Observation.where({"code": "1234-5"}).perform_resources(smart.server)
    first = smart.server.auth.access_token
    smart.reauthorize()
    return {
        "ready": smart.ready,
        "patient": smart.patient.as_json()["id"],
        "again": Patient.read(smart.patient_id, smart.server).as_json()["id"],
        "context": smart.launch_context,
        "found": [observation.id for observation in found],
        "refreshed": smart.server.auth.access_token != first,
    }


run(main)
