import assert from "node:assert/strict";
import { GLOBALSTATE_SIZE, globalStateBody, readGlobalState, RUN_STATES } from "../../guest/global_state.ts";

Deno.test("globalStateBody() is what QEMU writes", () => {
  // 00 00 00 0a | "prelaunch" 00... | 01 00 | 00...     (stream.md: annotated capture)
  const body = globalStateBody("prelaunch");
  assert.equal(body.length, GLOBALSTATE_SIZE);
  assert.equal(body.toHex(), "0000000a" + "7072656c61756e6368" + "00".repeat(23) + "0100" + "00".repeat(66));
  assert.deepEqual([...globalStateBody("suspended").subarray(36, 38)], [1, 1]);
});

Deno.test("readGlobalState() reads every state back", () => {
  for (const state of RUN_STATES) assert.equal(readGlobalState(globalStateBody(state)), state);
});

Deno.test("readGlobalState() gives undefined for what QEMU would refuse", () => {
  const body = globalStateBody("running");
  assert.equal(readGlobalState(body.subarray(0, 35)), undefined);
  body[4] ^= 1;
  assert.equal(readGlobalState(body), undefined);
  assert.equal(readGlobalState(new Uint8Array(104)), undefined);
  assert.equal(readGlobalState(new Uint8Array(104).fill(0x61)), undefined);
});
