// MQTT.js in a page: the test calls take(order), and hears emit(text), a binding of its own.
import { Buffer } from "buffer";
import { makeAgent } from "./agent.mjs";

window.take = makeAgent(object => window.emit(JSON.stringify(object)), { bytes: Buffer.from });
