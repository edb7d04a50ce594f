// Listens on a free port of loopback, prints the port, and then each mail as one line of JSON. With the argument "once-busy" it
// answers the first mail that it cannot take it now. Ends when its standard input does.
const { SMTPServer } = require("smtp-server");

let isBusy = process.argv.includes("once-busy");
const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ["STARTTLS"],
  onData(stream, session, done) {
    let mail = "";
    stream.setEncoding("utf8");
    stream.on("data", (part) => (mail += part));
    stream.on("end", () => {
      if (isBusy) {
        isBusy = false;
        return done(Object.assign(new Error("come back later"), { responseCode: 451 }));
      }
      const to = session.envelope.rcptTo.map((recipient) => recipient.address);
      console.log(JSON.stringify({ from: session.envelope.mailFrom.address, to, mail }));
      done();
    });
  },
});
server.listen(0, "127.0.0.1", () => console.log(server.server.address().port));
process.stdin.on("end", () => process.exit()).resume();
