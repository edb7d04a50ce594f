"""PyPI's `authlib`: code flow with PKCE and a secret, refresh, revocation; and a back end that signs."""

import time

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from lines import hear, run, say


class ShortLived(PrivateKeyJWT):
    """Assertions that end in time: authlib's own last an hour, SMART's five minutes."""

    def sign(self, auth, token_endpoint):
        self.claims = {"exp": int(time.time()) + 120}
        return super().sign(auth, token_endpoint)


def main():
    key = RSAKey.generate_key(2048, {"kid": "authlib"})
    say({"keys": {"keys": [key.as_dict(private=False)]}})
    wish = hear()

    plain = OAuth2Session()
    plain.trust_env = False
    server = plain.get(wish["issuer"] + "/.well-known/openid-configuration", withhold_token=True).json()
    app = OAuth2Session(
        wish["client"],
        wish["secret"],
        scope=wish["scope"],
        redirect_uri=wish["redirect"],
        code_challenge_method="S256",
    )
    app.trust_env = False
    verifier = "v" * 50
    url, state = app.create_authorization_url(
        server["authorization_endpoint"], code_verifier=verifier, aud=wish["base"], nonce="n"
    )
    say({"open": url})
    token = app.fetch_token(
        server["token_endpoint"], authorization_response=hear()["back"], state=state, code_verifier=verifier
    )
    keys = KeySet.import_key_set(plain.get(server["jwks_uri"], withhold_token=True).json())
    claims = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
    statuses = [app.get(wish["base"] + "/Patient").status_code]
    refreshed = app.refresh_token(server["token_endpoint"], refresh_token=token["refresh_token"])
    statuses.append(app.get(wish["base"] + "/Patient").status_code)
    app.revoke_token(server["revocation_endpoint"], token=refreshed["access_token"])
    statuses.append(app.get(wish["base"] + "/Patient").status_code)

    back_end = OAuth2Session(wish["back_end"], key, token_endpoint_auth_method="private_key_jwt", scope="system/*.rs")
    back_end.trust_env = False
    back_end.register_client_auth_method(ShortLived(server["token_endpoint"], headers={"kid": "authlib"}, alg="RS384"))
    own = back_end.fetch_token(server["token_endpoint"], grant_type="client_credentials")
    statuses.append(back_end.get(wish["base"] + "/Patient").status_code)
    return {"claims": claims, "scope": token["scope"], "own": own["scope"], "statuses": statuses}


run(main)
