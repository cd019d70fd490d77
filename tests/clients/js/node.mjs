// MQTT.js in Node.js: orders on standard input, answers on standard output (../agent.h).
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { makeAgent } from "./agent.mjs";

const take = makeAgent(object => process.stdout.write(JSON.stringify(object) + "\n"),
                       { bytes: Buffer.from, readCa: path => path && readFileSync(path) });
createInterface({ input: process.stdin })
  .on("line", line => take(JSON.parse(line)))
  .on("close", () => process.exit(0));
