/**
 * `verify` for people: a line for each finding, and one that sums up.
 *
 *     error    0x6e         sections[0].ram.blocks[0]  Cannot use mapped-ram version of n0 ...
 *     vm.sav: 1 error, 0 warnings
 *
 * @module
 */
import { hex } from "../stream/errors.ts";
import { type InspectStyle, printable } from "./inspect_text.ts";
import type { VerifyReport } from "./verify.ts";

const same = (text: string) => text;

/** The page, ending in a line feed. */
export function verifyText(name: string, { ok, findings, against }: VerifyReport, style?: InspectStyle): string {
  const { red = same, green = same, yellow = same, dim = same } = style ?? {};
  const lines = findings.map(({ severity, offset, path, message }) => {
    const word = severity === "error" ? red("error  ") : yellow("warning");
    return `${word}  ${hex(offset).padEnd(11)} ${dim(printable(path))}  ${printable(message)}`;
  });
  if (against) lines.push(...againstLines(against));
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const counts = `${plural(errors, "error")}, ${plural(findings.length - errors, "warning")}`;
  lines.push(`${printable(name)}: ${ok ? green("good") : red("not good")}, ${counts}`);
  return lines.join("\n") + "\n";
}

function againstLines({ target, machine, devices }: NonNullable<VerifyReport["against"]>): string[] {
  const count = (verdict: string) => devices.filter((device) => device.verdict === verdict).length;
  const lines = [
    `${printable(target)}: ${
      machine === undefined ? "" : machine ? "has the machine type, " : "lacks the machine type, "
    }` +
    `of ${plural(devices.length, "device")} ${count("accepted")} accepted, ${count("refused")} refused, ` +
    `${count("unknown")} not to be told`,
  ];
  for (const { name, instanceId, version, verdict, reasons } of devices) {
    if (verdict === "accepted") continue;
    lines.push(`  ${verdict}  ${printable(name)} instance ${instanceId} version ${version}: ${reasons.join("; ")}`);
  }
  return lines;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
