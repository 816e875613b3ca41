import assert from "node:assert/strict";
import { EventStream } from "../../core/events.ts";

Deno.test("listeners hear events at once, one name or all", () => {
  const stream = new EventStream();
  const heard: string[] = [];
  const stop = stream.on(({ event }) => heard.push(event));
  stream.on("STOP", ({ event }) => heard.push(`only ${event}`));
  stream.emit("STOP");
  stream.emit("RESUME");
  stop();
  stream.emit("STOP");
  assert.deepEqual(heard, ["STOP", "only STOP", "RESUME", "only STOP"]);
});

Deno.test("an iteration gets what came while it was busy, and ends with the stream", async () => {
  const stream = new EventStream();
  const heard: string[] = [];
  const done = (async () => {
    for await (const { event, timestamp } of stream) {
      assert(timestamp.seconds > 1e9 && timestamp.microseconds < 1e6);
      heard.push(event);
    }
  })();
  await Promise.resolve();
  stream.emit("A");
  stream.emit("B");
  await new Promise((resolve) => setTimeout(resolve, 0));
  stream.close();
  await done;
  assert.deepEqual(heard, ["A", "B"]);
});
