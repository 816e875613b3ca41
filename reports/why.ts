/**
 * `why`: what a failed load points at in this file, the likely cause, and what to do.
 *
 *     qemu-system-x86_64: Unknown savevm section or instance 'kvmclock' 0 ...
 *     -> sections[31].idstr at 0x5ed12; a KVM guest, the destination runs TCG
 *
 * Each line of the failure is held against a table of QEMU's and libvirt's sentences (why_rules*.ts). Where the file itself is
 * broken, as the decoder and `verify` see it, and QEMU's sentence is what such a file makes it say, the place is that of the
 * damage; else it is where the file holds what the sentence speaks of: the fault is then in the pair of file and destination.
 * @module
 */
import { TransportError } from "../stream/errors.ts";
import type { ReportInput } from "./input.ts";
import { type Finding, verifyImage, type VerifyOptions } from "./verify.ts";
import { WhyFacts, type WhyPlace } from "./why_facts.ts";
import { ENDED, failureLines } from "./why_lines.ts";
import { FRAME_RULES, type WhyContext, type WhyRule } from "./why_rules.ts";
import { CHANNEL_RULES, COMMAND_RULES } from "./why_rules_channels.ts";
import { HOST_RULES } from "./why_rules_host.ts";
import { LIBVIRT_RULES } from "./why_rules_libvirt.ts";
import { RAM_RULES } from "./why_rules_ram.ts";

export type { WhyPlace } from "./why_facts.ts";

/** What a broken file can make QEMU say; the other rows are about settings and the outside world. */
const STREAM_RULES: readonly WhyRule[] = [...FRAME_RULES, ...RAM_RULES, ...COMMAND_RULES];
const RULES: readonly WhyRule[] = [...STREAM_RULES, ...CHANNEL_RULES, ...LIBVIRT_RULES, ...HOST_RULES];

/** errno texts of QEMU's last line. */
const REASONS: Readonly<Record<string, string>> = {
  "Invalid argument": "something was read and made no sense, or does not fit this destination",
  "Input/output error": "the stream ended inside a record, or the connection broke",
  "Operation not permitted": "a command of postcopy in the wrong place, or a device refused what it was given",
  "Operation not supported": "a version of the file format that QEMU does not read",
  "No such file or directory": "a subsection this QEMU does not know",
  "Numerical result out of range": "a command of the wrong length",
  "Resource temporarily unavailable": "a package shorter than announced",
};

/** One line of the failure. */
export interface WhyFinding {
  /** QEMU's sentence, without the program's name. */
  readonly message: string;
  /** Whose state it was about: idstr. */
  readonly section?: string;
  /** Where in the file; absent where nothing in it is to blame. */
  readonly place?: WhyPlace;
  /** It only says where it happened; other lines say what. */
  readonly frame?: true;
  /** The bytes there are wrong; else they and the destination do not go together. */
  readonly damaged: boolean;
  /** What is likely behind it. */
  readonly cause: string;
  /** What to do. */
  readonly advice: string;
}

/** What came out. */
export interface WhyReport {
  /** From the innermost line of the failure out; lines that only say where or how it ended are last. */
  readonly findings: readonly WhyFinding[];
  /** errno text of the last line. */
  readonly reason?: string;
  /** What that stands for. */
  readonly reasonMeaning?: string;
  /** Lines nobody has a row for; of QEMU's warnings none. */
  readonly unknown: readonly string[];
  /** What is wrong with the file whatever was said; errors of `verify`. */
  readonly damage: readonly Finding[];
}

/** How to look. `against`: the QEMU that was to load it, where it can be asked what it knows. */
export type WhyOptions = Pick<VerifyOptions, "offset" | "snapshot" | "tables" | "channels" | "against">;

/**
 * Explain a failure.
 * @param input the file that was loaded
 * @param error what QEMU or libvirt said, one or many lines
 * @throws {TransportError} when the file cannot be opened or read
 */
export async function whyFailed(input: ReportInput, error: string, options: WhyOptions = {}): Promise<WhyReport> {
  const { against, ...where } = options;
  const facts = await WhyFacts.of(input, where);
  const { lines, warnings, reason } = failureLines(error);
  const context = contextOf(lines, facts);
  const findings: WhyFinding[] = [], frames: WhyFinding[] = [], unknown: string[] = [];
  for (const line of lines) {
    if (ENDED.test(line)) continue;
    const found = await explainLine(line, facts, context);
    if (!found && !warnings.has(line)) unknown.push(line);
    if (!found) continue;
    if (found.frame) frames.push(found);
    else findings.push(found);
  }
  const strange = () => against === undefined ? undefined : strangeSubsections(input, { ...where, against });
  if (findings.length === 0) findings.push(...await bareReason(facts, context, reason, strange));
  return {
    findings: [...findings, ...frames],
    ...(reason ? { reason } : {}),
    ...(reason && REASONS[reason] ? { reasonMeaning: REASONS[reason] } : {}),
    unknown,
    damage: facts.findings.filter(({ severity }) => severity === "error"),
  };
}

/** Whose state it was about, by the lines that say so. */
function contextOf(lines: readonly string[], facts: WhyFacts): WhyContext {
  for (const line of lines) {
    const full = /^error while loading state for instance 0x([0-9a-f]+) of device '(.+)'$/.exec(line);
    if (full) {
      return { name: full[2], section: facts.section(full[2], parseInt(full[1], 16)) ?? facts.section(full[2]) };
    }
    const part = /^error while loading state section id (\d+)\((.+)\)$/.exec(line);
    if (part) return { name: part[2], section: facts.sectionById(Number(part[1])) ?? facts.section(part[2]) };
  }
  return {};
}

async function explainLine(
  line: string,
  facts: WhyFacts,
  context: WhyContext,
): Promise<WhyFinding | undefined> {
  for (const rule of RULES) {
    const match = rule.pattern.exec(line);
    if (!match) continue;
    let damage = facts.damageFor(line);
    let place = damage ? undefined : await rule.find?.(match, facts, context);
    if (!place && !rule.frame && STREAM_RULES.includes(rule)) damage ??= facts.damage;
    if (damage) place = placeOf(damage);
    const fill = (text: string) => text.replace(/\$(\d)/g, (_, n) => match[Number(n)] ?? "").replace(/[:,]? *$/, "");
    const section = context.name ?? match.groups?.device;
    return {
      message: line,
      ...(section !== undefined ? { section } : {}),
      ...(place ? { place } : {}),
      ...(rule.frame ? { frame: true } : {}),
      damaged: damage !== undefined,
      cause: damage && !rule.frame ? damage.message : fill(rule.cause),
      advice: damage && !rule.frame ? DAMAGE_ADVICE : fill(rule.advice),
    };
  }
  return undefined;
}

function placeOf({ channel, offset, path }: Finding): WhyPlace {
  return { ...(channel === undefined ? {} : { channel }), offset, path };
}

const DAMAGE_ADVICE = "the bytes there are wrong: miglab verify tells more, miglab salvage what the file still holds";

/** What that QEMU does not know, by device: `name instance`. Undefined where it does not answer. */
async function strangeSubsections(
  input: ReportInput,
  options: VerifyOptions,
): Promise<ReadonlyMap<string, readonly string[]> | undefined> {
  try {
    const { against } = await verifyImage(input, options);
    return new Map(against!.devices.map(({ name, instanceId, unknownSubsections = [] }) => {
      return [`${name} ${instanceId}`, unknownSubsections];
    }));
  } catch (error) {
    if (error instanceof TransportError) return undefined;
    throw error;
  }
}

/**
 * Nothing was said but where and how it ended.
 * @param strange asks the QEMU that was to load it, where there is one
 */
async function bareReason(
  facts: WhyFacts,
  context: WhyContext,
  reason: string | undefined,
  strange: () => ReturnType<typeof strangeSubsections> | undefined,
): Promise<WhyFinding[]> {
  const { section, name } = context;
  const about = name === undefined ? {} : { section: name };
  const { damage } = facts;
  const message = reason === undefined ? "nothing was said" : `load of migration failed: ${reason}`;
  if (damage) {
    const { message: cause } = damage;
    return [{ message, ...about, place: placeOf(damage), damaged: true, cause, advice: DAMAGE_ADVICE }];
  }
  if (reason === "No such file or directory" && section) {
    const subsections = await facts.fields(
      section,
      ({ path, meaning }) => path.endsWith(".name") && meaning === "name of the subsection",
    );
    const unknown = (await strange())?.get(`${section.idstr} ${section.instanceId}`) ?? [];
    const named = subsections.filter(({ value }) => unknown.includes(String(value)));
    if (named.length > 0) {
      return named.map((place) => ({
        message,
        ...about,
        place,
        damaged: false,
        cause: `${section.idstr} has a subsection ${place.value}, which the QEMU that loads does not know`,
        advice:
          "use a QEMU at least as new as the source, or have the source leave the subsection out: its machine type decides",
      }));
    }
    return subsections.map((place) => ({
      message,
      ...about,
      place,
      damaged: false,
      cause: `${section.idstr} has a subsection ${place.value}, and one of these is unknown to the QEMU that loads`,
      advice: "use a QEMU at least as new as the source; miglab verify --against QEMU names it",
    }));
  }
  if (section) {
    const place = facts.inSection(section, "type");
    return [{
      message,
      ...about,
      ...(place ? { place } : {}),
      damaged: false,
      cause: `the file is good: the device ${section.idstr} itself refused its state`,
      advice: "compare the device's properties and its host (disk, network, firmware) on both sides",
    }];
  }
  if (reason === undefined) {
    return facts.findings.slice(0, 10).map(({ offset, path, message: cause }) => ({
      message,
      place: { offset, path },
      damaged: false,
      cause,
      advice: "QEMU loads such a file; hold what it loaded against what was saved",
    }));
  }
  return [{
    message,
    damaged: false,
    cause: reason === "Input/output error"
      ? "the file is good and complete: what carried it ended early (a pipe, a socket, an offset behind its end)"
      : "the file is good by itself; the sentence that says why is missing",
    advice: "look for further lines on the destination's stderr",
  }];
}
