// MQTT.js as an agent (../agent.h): take(order) for each order, emit(object) for answers and events.
// The same in Node.js (node.mjs) and in a page (page.mjs).
import mqtt from "mqtt";

const PROPERTIES = [ // our name, theirs
  ["payload_format", "payloadFormatIndicator"],
  ["expiry", "messageExpiryInterval"],
  ["content_type", "contentType"],
  ["response_topic", "responseTopic"],
  ["correlation", "correlationData"],
  ["session_expiry", "sessionExpiryInterval"],
  ["receive_maximum", "receiveMaximum"],
  ["alias_maximum", "topicAliasMaximum"],
  ["alias", "topicAlias"],
];

const fromHex = text => Uint8Array.from(text.match(/../g) || [], pair => parseInt(pair, 16));
const toHex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");

export function makeAgent(emit, { bytes, readCa }) {
  let client = null;
  let reason = 0; // of the server's DISCONNECT

  function toProperties(from = {}) {
    const made = {};
    for (const [ours, theirs] of PROPERTIES)
      if (ours in from) made[theirs] = from[ours];
    if ("payload_format" in from) made.payloadFormatIndicator = Boolean(from.payload_format);
    if ("correlation" in from) made.correlationData = bytes(fromHex(from.correlation));
    for (const [name, value] of from.user || [])
      (((made.userProperties ||= {})[name]) ||= []).push(value);
    return made;
  }

  function fromProperties(list = {}) {
    const made = { user: [] };
    for (const [ours, theirs] of PROPERTIES)
      if (theirs in list) made[ours] = list[theirs];
    if ("payload_format" in made) made.payload_format = Number(made.payload_format);
    if ("correlation" in made) made.correlation = toHex(made.correlation);
    for (const [name, values] of Object.entries(list.userProperties || {}))
      for (const value of [values].flat()) made.user.push([name, value]);
    return made;
  }

  // A reason code stands in the packet or in the error, if the library could say.
  const codeOf = (error, packet) => error ? error.code ?? -1 : packet?.reasonCode ?? 0;

  function willOf({ topic, payload, qos, retain, properties }, isV5) {
    return { topic, payload: bytes(fromHex(payload)), qos, retain: Boolean(retain),
             properties: isV5 ? toProperties(properties) : undefined };
  }

  function connect(order) {
    const isV5 = order.version === 5;
    const path = order.scheme.startsWith("ws") ? "/mqtt" : "";
    let waiting = true;
    const answer = (code, present) => {
      if (waiting) emit({ n: order.n, code, present });
      waiting = false;
    };
    client?.removeAllListeners().on("error", () => {}).end(true);
    reason = 0;
    const mine = client = mqtt.connect(`${order.scheme}://127.0.0.1:${order.port}${path}`, {
      protocolVersion: order.version,
      clientId: order.id,
      clean: Boolean(order.clean),
      username: order.user,
      password: order.password,
      keepalive: order.keep_alive,
      reconnectPeriod: 0,
      properties: isV5 ? toProperties(order.properties) : undefined,
      will: order.will && willOf(order.will, isV5),
      autoAssignTopicAlias: Boolean(order.auto_alias),
      ca: readCa?.(order.ca),
    });
    mine.on("connect", packet => answer(0, packet.sessionPresent));
    mine.on("error", error => answer(codeOf(error), false));
    mine.on("disconnect", packet => { reason = packet.reasonCode ?? 0; });
    mine.on("close", () => {
      if (waiting) answer(-1, false);
      else if (mine === client) emit({ event: "lost", code: reason });
    });
    mine.on("message", (topic, payload, packet) => emit({
      event: "message", topic, payload: toHex(payload), qos: packet.qos, retain: packet.retain,
      properties: fromProperties(packet.properties) }));
  }

  const orders = {
    connect,
    subscribe: ({ n, filter, qos }) => client.subscribe(filter, { qos }, (error, granted, packet) =>
      emit({ n, code: packet?.granted?.[0] ?? granted?.[0]?.qos ?? codeOf(error) })),
    unsubscribe: ({ n, filter }) => client.unsubscribe(filter, (error, packet) =>
      emit({ n, code: error ? codeOf(error) : packet?.granted?.[0] ?? 0 })),
    publish: ({ n, topic, payload, qos, retain, properties }) =>
      client.publish(topic, bytes(fromHex(payload)), {
        qos, retain: Boolean(retain),
        properties: properties && toProperties(properties),
      }, (error, packet) => emit({ n, code: codeOf(error, packet) })),
    disconnect: ({ n }) => {
      const ending = client;
      client = null; // its end is the answer, not a loss
      ending.end(false, {}, () => emit({ n, code: 0 }));
    },
  };

  return order => orders[order.do](order);
}
