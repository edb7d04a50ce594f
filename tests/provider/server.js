// An OpenID provider on a free port of loopback, which lets in whoever is named. Prints its issuer, reads the redirection address of
// its only client from its standard input, and prints "ready". Ends when its standard input does.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const [authMethod] = process.argv.slice(2);
const server = createServer();
server.listen(0, "127.0.0.1", () => console.log(issuer()));
const issuer = () => `http://127.0.0.1:${server.address().port}`;

createInterface({ input: process.stdin })
  .once("line", (redirectUri) => {
    server.on("request", provider(redirectUri).callback());
    console.log("ready");
  })
  .on("close", () => process.exit());

function provider(redirectUri) {
  return new Provider(issuer(), {
    clients: [
      {
        client_id: "medconsult",
        client_secret: "a secret of the tests: + & %",
        redirect_uris: [redirectUri],
        token_endpoint_auth_method: authMethod,
      },
    ],
    clientAuthMethods: [authMethod],
    pkce: { required: () => true },
    cookies: { keys: ["of the tests"] },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    // Everybody is whoever they say; whose name begins with "unverified" never proved an address.
    findAccount: (_, name) => ({
      accountId: name,
      claims: () => ({
        sub: name,
        email: `${name.replace("unverified-", "")}@clinic.example`,
        email_verified: !name.startsWith("unverified"),
      }),
    }),
  });
}
