/**
 * What somebody copied from a terminal or a log, as QEMU's and libvirt's sentences.
 * @module
 */

/** Most lines of a failure that are looked at, and of each so many characters. */
const LINE_LIMIT = 100;
const WIDTH_LIMIT = 1000;

/** How it ended; other lines say why. */
export const ENDED = /^(?:load of migration failed|Error -?\d+ while loading VM state)(?:: (.+))?$/;

/**
 * What programs put in front of a sentence, each in front of others:
 *
 *     error: internal error: QEMU unexpectedly closed the monitor (vm='x'): 2026-01-02T03:04:05.6Z qemu-kvm: SENTENCE
 *     Error restoring domain: operation failed: job 'start' failed: SENTENCE
 *     2026-01-02 03:04:05.678+0000: 123: error : qemuProcessReportLogError:2087 : internal error: SENTENCE
 */
const WRAPPINGS: readonly RegExp[] = [
  /^\d{4}-\d\d-\d\dT\S+Z?:? /,
  /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+\d{4}: \d+: error : (?:\w+:\d+ : )?/,
  /^(?:\S*(?:qemu|kvm)\S*): (?:-incoming [^:]+:[^:]*: )?/i,
  /^(?:error|warning): /i,
  /^Failed to \w+ (?:domain|snapshot|save image)[^:]*: /i,
  /^Error \w+ing (?:domain|snapshot)[^:]*: /i,
  /^(?:operation (?:failed|aborted)|internal error|unsupported configuration|invalid argument): /i,
  /^(?:Requested operation is not valid|Timed out during operation|Operation not supported): /,
  /^this function is not supported by the connection driver: /,
  /^job '[^']+' failed: /,
  /^unable to execute QEMU command '[^']+': /,
  /^qemu unexpectedly closed the monitor(?: \(vm='[^']*'\))?: /i,
  /^process exited while connecting to monitor: /i,
];
/** What QEMU itself says is no failure: told only where something is known about it. */
const WARNING = /(?:^|: )warning: /i;
/** What libvirt writes into its log besides errors. */
const LOGGED = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+\d{4}: \d+: (?:debug|info|warning) : /;
/** What virsh says before it says why. */
const ANNOUNCEMENT = /^error: Failed to \w+ (?:domain|snapshot|save image)[^:]*$/i;

/** One line without what is around its sentence. */
function unwrapped(line: string): string {
  if (ANNOUNCEMENT.test(line) || LOGGED.test(line)) return "";
  for (let before = ""; before !== line;) {
    before = line;
    line = WRAPPINGS.reduce((text, wrapping) => text.replace(wrapping, ""), line);
  }
  return line === "error" ? "" : line;
}

/** What a failure says. */
export interface FailureLines {
  /** Sentences, without time, program and wrapping; how it ended is among them. */
  readonly lines: readonly string[];
  /** Those that were warnings. */
  readonly warnings: ReadonlySet<string>;
  /** errno text of the last line that has one. */
  readonly reason?: string;
}

/** Take a failure apart, one line or many. */
export function failureLines(error: string): FailureLines {
  const lines: string[] = [], warnings = new Set<string>();
  let reason: string | undefined;
  for (const raw of error.split(/\r?\n/).slice(0, LINE_LIMIT)) {
    const line = unwrapped(raw.slice(0, WIDTH_LIMIT).trim());
    if (line === "") continue;
    reason = ENDED.exec(line)?.[1] ?? reason;
    lines.push(line);
    if (WARNING.test(raw)) warnings.add(line);
  }
  return { lines, warnings, ...(reason ? { reason } : {}) };
}
