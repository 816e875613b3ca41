import assert from "node:assert/strict";
import { bytesText, ProgressLine, timeText } from "../../repl/progress.ts";

const MIB = 1 << 20;

function ram(total: number, remaining: number, transferred: number, pass = 1) {
  return { status: "active", ram: { total, remaining, transferred, "dirty-sync-count": pass } };
}

Deno.test("bytesText() keeps three digits and changes the unit before a fourth", () => {
  const texts = [0, 1, 999, 1000, 1023, 1024, 1536, 10 * 1024, 1023 * 1024, MIB, 112 * MIB, 4 * 2 ** 30]
    .map(bytesText);
  assert.deepEqual(texts, [
    "0 B",
    "1 B",
    "999 B",
    "0.98 KiB",
    "1.00 KiB",
    "1.00 KiB",
    "1.50 KiB",
    "10.0 KiB",
    "1.00 MiB",
    "1.00 MiB",
    "112 MiB",
    "4.00 GiB",
  ]);
});

Deno.test("timeText() writes minutes, and hours only where there are some", () => {
  assert.deepEqual([0, 0.2, 59, 61, 3599.5, 3723].map(timeText), [
    "0:00",
    "0:01",
    "0:59",
    "1:01",
    "1:00:00",
    "1:02:03",
  ]);
});

Deno.test("a progress line shows share, bytes, rate and what is left of the time", () => {
  let clock = 0;
  const line = new ProgressLine(() => {}, () => 100, "ram", () => clock);
  assert.equal(line.text(ram(256 * MIB, 256 * MIB, 0)), `ram [${" ".repeat(20)}]   0% 0 B of 256 MiB`);
  clock = 1000;
  assert.equal(
    line.text(ram(256 * MIB, 192 * MIB, 32 * MIB)),
    `ram [#####${" ".repeat(15)}]  25% 64.0 MiB of 256 MiB, 32.0 MiB/s, 0:03 left`,
  );
});

Deno.test("a further pass puts pages back without a negative pace", () => {
  let clock = 0;
  const line = new ProgressLine(() => {}, () => 100, "ram", () => clock);
  line.text(ram(64 * MIB, 32 * MIB, 32 * MIB));
  clock = 1000;
  line.text(ram(64 * MIB, 16 * MIB, 48 * MIB));
  clock = 2000;
  const text = line.text(ram(64 * MIB, 48 * MIB, 64 * MIB, 2));
  assert.match(text, /16\.0 MiB of 64\.0 MiB, 16\.0 MiB\/s, 0:03 left, pass 2$/);
});

Deno.test("a progress line leaves room for what a terminal echoes, and drops whole words, the least telling first", () => {
  const figures = {
    status: "active",
    converges: false,
    writes: 49 * MIB,
    ram: { total: 512 * MIB, remaining: 184 * MIB, transferred: 328 * MIB, "dirty-sync-count": 3 },
  };
  const texts = [100, 80, 60, 40, 30, 10].map((width) => new ProgressLine(() => {}, () => width).text(figures));
  assert.deepEqual(texts, [
    "64% 328 MiB of 512 MiB, pass 3, guest writes 49.0 MiB/s, will not converge",
    "64% 328 MiB of 512 MiB, pass 3, guest writes 49.0 MiB/s, will not converge",
    "64% 328 MiB of 512 MiB, will not converge",
    "64% will not converge",
    "64% will not converge",
    "64%",
  ]);
  for (let width = 10; width < 120; width++) {
    const line = new ProgressLine(() => {}, () => width);
    const text = line.text({ ...figures, status: "postcopy-active", converges: undefined, secondsLeft: 12 });
    assert.ok(text.length <= Math.max(width - 3, 10), `${text.length} of ${width}`);
    assert.match(
      text,
      /^(ram \[#{13} {7}\] {2})?64%( (\d+ MiB of 512 MiB|postcopy-active|0:12 left|pass 3|guest writes 49\.0 MiB\/s)(, |$))?/,
    );
  }
});

Deno.test("where somebody has looked ahead, the line has that time and no other, and none where there is no end", () => {
  let clock = 0;
  const line = new ProgressLine(() => {}, () => 100, "ram", () => clock);
  line.text(ram(64 * MIB, 32 * MIB, 32 * MIB));
  clock = 1000;
  const later = ram(64 * MIB, 16 * MIB, 48 * MIB, 2);
  assert.match(line.text({ ...later, secondsLeft: 168, converges: true }), /16\.0 MiB\/s, 2:48 left, pass 2$/);
  assert.match(line.text({ ...later, converges: false }), /16\.0 MiB\/s, pass 2, will not converge$/);
});

Deno.test("without figures the status stands alone, and nothing is erased that was not drawn", () => {
  const drawn: string[] = [];
  const line = new ProgressLine((text) => drawn.push(text));
  line.erase();
  assert.deepEqual(drawn, []);
  line.show({ status: "setup" });
  line.erase();
  assert.deepEqual(drawn, ["\r\x1b[Ksetup", "\r\x1b[K"]);
});
