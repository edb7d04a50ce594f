// npm's `openid-client`: discovery, private_key_jwt with keys at an address of its own, code flow, refresh, introspection,
// revocation, and a back end's own token.
const http = require("http");
const { run, say, hear } = require("./lines");

run(async () => {
  const oidc = await import("openid-client");
  const { subtle } = globalThis.crypto;
  const pair = await subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, ["sign", "verify"]);
  const { kty, crv, x, y } = await subtle.exportKey("jwk", pair.publicKey);
  const jwk = { kty, crv, x, y, kid: "first", alg: "ES384", use: "sig" };
  const server = http.createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ keys: [jwk] }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  say({ origin });

  const { issuer, base, client, backEnd, scope } = await hear();
  const proof = oidc.PrivateKeyJwt({ key: pair.privateKey, kid: "first" });
  const options = { execute: [oidc.allowInsecureRequests] };
  const config = await oidc.discovery(new URL(issuer), client, {}, proof, options);

  const verifier = oidc.randomPKCECodeVerifier();
  const expected = { pkceCodeVerifier: verifier, expectedState: oidc.randomState(), expectedNonce: oidc.randomNonce() };
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: `${origin}/callback`,
    scope,
    aud: base,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state: expected.expectedState,
    nonce: expected.expectedNonce,
  });
  say({ open: url.href });
  const { back } = await hear();
  const tokens = await oidc.authorizationCodeGrant(config, new URL(back), { ...expected, idTokenExpected: true });
  const claims = tokens.claims();
  const user = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub);
  const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
  const seen = await oidc.tokenIntrospection(config, refreshed.access_token);
  const read = (token) =>
    fetch(`${base}/Patient`, { headers: { authorization: `Bearer ${token}` } }).then((answer) => answer.status);
  const before = await read(refreshed.access_token);
  await oidc.tokenRevocation(config, refreshed.access_token);
  const after = await read(refreshed.access_token);

  const own = await oidc.discovery(new URL(issuer), backEnd, {}, proof, options);
  const token = await oidc.clientCredentialsGrant(own, { scope: "system/*.rs" });
  const result = { claims, user, seen, statuses: [before, after, await read(token.access_token)] };
  server.close();
  return result;
});
