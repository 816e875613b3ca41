/**
 * `verify`: every invariant of a migration stream, more than QEMU itself checks when it loads one.
 *
 *     framing     ids, footers, lengths, order, one START and one END of ram, an end mark, nothing behind it
 *     ram         block list, every record's place, completeness, deltas, what postcopy may send twice, mapped-ram's areas
 *     devices     described size against footers, fields against their types, run state
 *     commands    lengths, postcopy's states, discarded ranges
 *
 * The decoder refuses what makes no sense to go on behind: that is the one finding of its kind, and the last by offset. What
 * it lets pass is held against the rules here. `warning`: odd or incomplete, and may still be what somebody wanted.
 * @module
 */
import type { Located } from "../containers/locate.ts";
import { StreamDecoder } from "../stream/decode.ts";
import { StreamError } from "../stream/errors.ts";
import type { Tables } from "../stream/tables.ts";
import { type Finding, Findings } from "./findings.ts";
import { type InputOptions, openSeekable, type ReportInput } from "./input.ts";
import type { DeviceVerdict } from "./verify_against.ts";
import { askTarget, checkChannels, checkRecordedAnswers, type FurtherInput } from "./verify_beside.ts";
import { StreamChecks } from "./verify_stream.ts";

export type { Finding, Report, Severity } from "./findings.ts";

/** What came out: `verify --json`. */
export interface VerifyReport {
  /** No errors; there may be warnings. */
  readonly ok: boolean;
  /** By offset. */
  readonly findings: readonly Finding[];
  /** What a QEMU would say to it; only where one was named. */
  readonly against?: {
    readonly target: string;
    /** Whether it has the machine type; undefined where only a dump is at hand. */
    readonly machine?: boolean;
    readonly devices: readonly DeviceVerdict[];
  };
}

/** How to look. */
export interface VerifyOptions extends InputOptions {
  /** Further channels of a multifd or postcopy-preempt migration: files, bytes or sources that can be read at any position. */
  readonly channels?: readonly FurtherInput[];
  /** The way back of the migration, recorded. */
  readonly returnPath?: ReportInput;
  /** A QEMU program, or a file that `-dump-vmstate` wrote: will that one load it? */
  readonly against?: string;
  /** Codecs of plugins. */
  readonly tables?: Partial<Tables>;
  /** Told of each record's end, and waited for. `total` is unknown on a pipe. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void | Promise<void>;
}

/**
 * Verify a stream.
 * @throws {TransportError} when the file cannot be opened or read; what is wrong with its bytes is in the report
 */
export async function verifyImage(input: ReportInput, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { tables, channels = [], returnPath, against, onProgress } = options;
  let located: Located;
  try {
    located = await openSeekable(input, options);
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    const { offset, message } = error;
    return { ok: false, findings: [{ severity: "error", offset, path: "container", message }] };
  }
  try {
    const findings = new Findings();
    const decoder = new StreamDecoder(located.source, {
      ...(tables?.sections ? { sections: tables.sections } : {}),
      onWarning: (warning) => checks.warn(warning),
    });
    const checks = new StreamChecks(decoder, findings.add, {
      ...(tables ? { tables } : {}),
      elsewhere: channels.length > 0,
    });
    checks.front(located);
    await checks.run(onProgress);
    checks.behind(located);
    if (returnPath !== undefined) await checkRecordedAnswers(returnPath, decoder, findings.add);
    if (channels.length > 0) await checkChannels(input, channels, options, findings.add);
    const { machine } = checks;
    const verdict = against === undefined ? undefined : await askTarget(input, against, machine, options, findings.add);
    return { ok: findings.errors === 0, findings: findings.list(), ...(verdict ? { against: verdict } : {}) };
  } finally {
    located.close();
  }
}
