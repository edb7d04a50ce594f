// How a client talks with its test: one JSON value per line, in both directions.
const readline = require("readline");

const waiting = [];
const heard = [];
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => (waiting.length ? waiting.shift()(JSON.parse(line)) : heard.push(JSON.parse(line))))
  .on("close", () => process.exit());

exports.say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
exports.hear = () =>
  heard.length ? Promise.resolve(heard.shift()) : new Promise((resolve) => waiting.push(resolve));

// Runs a client to its end; what goes wrong is told to the test.
exports.run = (main) =>
  main().then(
    (result) => exports.say({ done: result }),
    (error) => exports.say({ failed: String(error?.stack ?? error), cause: String(error?.cause ?? "") }),
  );
