// Listens on loopback, prints the port, and then each mail as one line of JSON. Ends when its standard input does. What it does
// besides is said by one JSON object as its argument:
//
//   port        listen there, as a server that comes back (otherwise on any free port)
//   key, cert   PEM: TLS, from the first byte on if `secure`, otherwise offered by STARTTLS
//   user, pass  who does not sign in by these may not send
//   busy        how many mails are answered that it cannot take them now
//   refuse      recipients that there are not
//   die         "data" breaks every connection in the middle of a text; "accepted" once, after the text, before it is answered
//   slow        milliseconds that each mail takes
const { SMTPServer } = require("smtp-server");

const options = JSON.parse(process.argv[2] || "{}");
let busy = options.busy || 0;
let dies = options.die === "accepted" ? 1 : 0;

const failure = (code, text) => Object.assign(new Error(text), { responseCode: code });

const server = new SMTPServer({
  authOptional: !options.user,
  secure: Boolean(options.secure),
  key: options.key,
  cert: options.cert,
  disabledCommands: options.key ? [] : ["STARTTLS"],
  onAuth(auth, session, done) {
    const right = auth.username === options.user && auth.password === options.pass;
    done(right ? null : failure(535, "no"), { user: auth.username });
  },
  onRcptTo(recipient, session, done) {
    const refused = (options.refuse || []).includes(recipient.address);
    done(refused ? failure(550, `there is no ${recipient.address}`) : null);
  },
  onData(stream, session, done) {
    if (options.die === "data") {
      stream.resume();
      for (const connection of server.connections) connection._socket.destroy();
      return;
    }
    let mail = "";
    stream.setEncoding("utf8");
    stream.on("data", (part) => (mail += part));
    stream.on("end", () => {
      if (busy > 0) {
        busy -= 1;
        return done(failure(451, "come back later"));
      }
      const to = session.envelope.rcptTo.map((recipient) => recipient.address);
      const { secure, user } = session;
      console.log(JSON.stringify({ from: session.envelope.mailFrom.address, to, mail, secure, user }));
      if (dies > 0) {
        dies -= 1;
        for (const connection of server.connections) connection._socket.destroy();
        return;
      }
      setTimeout(done, options.slow || 0);
    });
  },
});
// Connections that are broken are no errors of this server.
server.on("error", () => {});
server.listen(options.port || 0, "127.0.0.1", () => console.log(server.server.address().port));
process.stdin.on("end", () => process.exit()).resume();
