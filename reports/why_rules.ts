/**
 * Sentences of QEMU's loader about header, configuration, sections and device state, and what each means.
 *
 * A row is a pattern, the likely cause, what to do, and how to find the place in the file. `$1` stands for what the pattern
 * caught. The sentences are those of QEMU 10.0 (migration/savevm.c, vmstate.c, vmstate-types.c, global_state.c).
 * @module
 */
import type { WhyFacts, WhyPlace } from "./why_facts.ts";

/** What is known of all the lines of one failure. */
export interface WhyContext {
  /** idstr of the line "error while loading state ...", where there is one. */
  readonly name?: string;
  /** That section in the file. */
  readonly section?: ReturnType<WhyFacts["section"]>;
}

type Finder = (
  match: RegExpExecArray,
  facts: WhyFacts,
  context: WhyContext,
) => WhyPlace | undefined | Promise<WhyPlace | undefined>;

/** One sentence. */
export interface WhyRule {
  readonly pattern: RegExp;
  readonly cause: string;
  readonly advice: string;
  /** Where in a file that is not broken itself. */
  readonly find?: Finder;
  /** It only says where, or how it ended: other lines say what. */
  readonly frame?: true;
}

const SAME_GUEST =
  "start the destination with the machine type and devices of the source (miglab inspect lists them), same order and ids";
const DAMAGED = "miglab verify tells where the file is damaged; miglab salvage what it still holds";

const configuration = (path: RegExp): Finder => (match, facts) => facts.line(path, match[1]) ?? facts.line(path);
const header = (field: string): Finder => (_, facts) => {
  return facts.line(new RegExp(`^header\\.${field}$`)) ??
    { offset: field === "magic" ? 0 : 4, path: `header.${field}` };
};
const device = (field: string): Finder => (match, facts) => {
  const name = match.groups?.device ?? match[1];
  const instance = match.groups?.instance;
  return facts.inSection(facts.section(name, instance === undefined ? undefined : Number(instance)), field);
};

/** Rows about the frame of a stream and about device state. */
export const FRAME_RULES: readonly WhyRule[] = [
  {
    pattern: /^Not a migration stream$/,
    cause:
      "what the destination read does not begin with QEVM: another file, an offset that is wrong or missing, a compressed " +
      "file, or nothing at all",
    advice:
      "miglab inspect says what the file is; file:PATH,offset=N for a stream that begins later, unpack what is compressed",
    find: header("magic"),
  },
  {
    pattern: /^SaveVM v2 format is obsolete/,
    cause: "the stream is of version 2, from before QEMU 0.14",
    advice: "load it with a QEMU of its time and save it again",
    find: header("version"),
  },
  {
    pattern: /^Unsupported migration stream version$/,
    cause: "the version behind QEVM is not 3: the file is damaged or ends there",
    advice: DAMAGED,
    find: header("version"),
  },
  {
    pattern: /^Configuration section missing$/,
    cause:
      "the destination expects a configuration section and the stream has none: it was sent with send-configuration=off",
    advice: "give the destination -global migration.send-configuration=off",
    find: (_, facts) => facts.line(/^sections\[0\]\.type$/) ?? facts.line(/^commands\[0\]\.type$/),
  },
  {
    pattern: /^Failed to load configuration:(len|name)$/,
    cause: "the machine's name is cut or its length is damaged",
    advice: DAMAGED,
    find: (match, facts) => facts.line(match[1] === "len" ? /^configuration\.length$/ : /^configuration\.machine$/),
  },
  {
    pattern: /^Machine type received is '(.*)' and local is '(.*)'$/,
    cause: "the stream is of machine type $1, the destination runs $2",
    advice:
      "start the destination with -machine $1; a QEMU that does not have it (miglab verify --against QEMU) cannot load this",
    find: configuration(/^configuration\.machine$/),
  },
  {
    pattern: /^Capability (\S+) is (on|off), but received capability is (on|off)$/,
    cause: "the stream was saved with $1 $3, the destination has it $2",
    advice: "migrate_set_capability $1 $3 before migrate_incoming",
    find: (match, facts) =>
      facts.line(/^configuration\.subsections\[\d+\]\.capabilities\[\d+\]$/, match[1]) ??
        facts.line(/^configuration\.(subsections\[\d+\]\.count|machine)$/),
  },
  {
    pattern: /^Received unknown capability ?(.*)$/,
    cause: "the stream lists a capability this QEMU does not know: it is newer, or the list is damaged",
    advice: "use a QEMU at least as new as the one that saved; miglab inspect shows the list",
    find: configuration(/^configuration\.subsections\[\d+\]\.capabilities\[\d+\]$/),
  },
  {
    pattern: /^Failed to load configuration\/capabilities:capabilities$/,
    cause: "the list of capabilities could not be read",
    advice: DAMAGED,
    find: (_, facts) => facts.line(/^configuration\.subsections\[\d+\]\.count$/),
    frame: true,
  },
  {
    pattern: /^Received TARGET_PAGE_BITS is (\d+) but local is (\d+)$/,
    cause: "pages of 2^$1 bytes in the stream, of 2^$2 at the destination: another machine or CPU",
    advice: "use the machine type and CPU of the source",
    find: configuration(/^configuration\.subsections\[\d+\]\.targetPageBits$/),
  },
  {
    pattern: /^UUID received is (\S+) and local is (\S+)$/,
    cause: "it is the state of another guest: UUID $1, not $2",
    advice: "start the destination with -uuid $1, or with validate-uuid off if the guests are alike on purpose",
    find: (_, facts) => facts.line(/^configuration\.subsections\[\d+\]\.uuid$/),
  },
  {
    pattern: /UUID is received (\S+), but local uuid isn't set$/,
    cause: "a warning only: the destination was started without -uuid",
    advice: "start the destination with -uuid $1 to be sure",
    find: (_, facts) => facts.line(/^configuration\.subsections\[\d+\]\.uuid$/),
  },
  {
    pattern: /^Unknown savevm section type (\d+)$/,
    cause:
      "a byte $1 stands where a section should begin: the stream is damaged, or the section before it was read with another " +
      "length, as a destination with section footers does to a stream without them",
    advice: `${DAMAGED}; -global migration.send-section-footer=off for streams without footers`,
  },
  {
    pattern: /^Unable to read ID string for section (\d+)$/,
    cause: "the name of section $1 is empty or cut",
    advice: DAMAGED,
    find: (match, facts) => facts.inSection(facts.sectionById(Number(match[1])), "idstr"),
  },
  {
    pattern: /^Unknown savevm section or instance '(?<device>.*)' (?<instance>\d+)/,
    cause:
      "the stream has state of $1 instance $2 and the destination has no such device: one that was hot-plugged, another " +
      "bus address, another accelerator (kvmclock), or a machine without it",
    advice: SAME_GUEST,
    find: device("idstr"),
  },
  {
    pattern: /^savevm: unsupported version (\d+) for '(?<device>.*)' v(\d+)$/,
    cause: "$2 was saved in version $1 of its layout, this QEMU reads up to $3: it is older than the one that saved",
    advice: "use a QEMU at least as new as the source",
    find: device("version"),
  },
  {
    pattern:
      /^(?<device>.+?): incoming version_id (\d+) is too (old for local minimum|new for local) version_id +(\d+)$/,
    cause: "the layout of $1 has version $2 in the stream, which is too $3 version $4",
    advice: "use a QEMU nearer to the one that saved; miglab verify --against QEMU tells for all devices",
    find: async (match, facts, { section }) => {
      const [found] = await facts.fields(
        section ?? facts.section(match[1]),
        ({ path, value }) => path.endsWith(".version") && value === Number(match[2]),
      );
      return found ?? device("version")(match, facts, {});
    },
  },
  {
    pattern: /^Unknown savevm section (\d+)$/,
    cause:
      "a part of section $1, which nobody announced: the stream is damaged, or pieces of two streams were put together",
    advice: DAMAGED,
    find: (match, facts) => facts.line(/^sections\[\d+\]\.id$/, Number(match[1])),
  },
  {
    pattern: /^Missing section footer for (.+)$/,
    cause:
      "the destination read $1 to another length than it has: it has another layout of it (a property, a version, a device " +
      "that differs), the stream has no footers, or it is damaged",
    advice: `${SAME_GUEST}; -global migration.send-section-footer=off for streams without footers`,
    find: device("footer.mark"),
  },
  {
    pattern: /^Mismatched section id in footer for (.+) - read 0x([0-9a-f]+) expected 0x([0-9a-f]+)$/,
    cause: "behind $1 stands the footer of another section: the stream is damaged",
    advice: DAMAGED,
    find: device("footer.id"),
  },
  {
    pattern: /^check_section_footer: Read section footer failed/,
    cause: "the stream ends in front of a footer",
    advice: "the save did not end, or the file was cut; " + DAMAGED,
  },
  {
    pattern: /^Expected vmdescription section, but got (\d+)$/,
    cause: "no harm to the load: what follows the end mark is not the description of the devices",
    advice: "nothing, unless sections follow, which QEMU then leaves out: " + DAMAGED,
    find: (_, facts) => facts.line(/^eof$/),
  },
  {
    pattern: /^Failed to load (.+):(.+)$/,
    cause: "field $2 of $1 could not be read, or has a value this destination refuses",
    advice: "the line above it says why; compare the device's properties on both sides",
    find: async (match, facts, { section }) => {
      const name = match[2];
      const own = new RegExp(`VMStateDescription ${match[1].replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
      const pick = (strict: boolean) =>
        facts.fields(
          section ?? facts.section(match[1]),
          ({ path, source = "" }) =>
            (!strict || own.test(source)) &&
            (path.endsWith(`.${name}`) || path.includes(`.${name}[`) || path.includes(`.${name}.`)),
        );
      return (await pick(true))[0] ?? (await pick(false))[0];
    },
  },
  {
    pattern: /^([0-9a-f]+) != ([0-9a-f]+)$/,
    cause: "a field that must be equal on both sides is 0x$1 at the destination and 0x$2 in the stream",
    advice: "the next line names it: set the property it comes from as on the source",
    frame: true,
  },
  {
    pattern: /^Invalid value (-?\d+) expecting positive value <= (\d+)$/,
    cause: "a count is $1 in the stream, and the destination has room for $2: the device is smaller there",
    advice: "give the device the size it had (queues, ports, slots)",
    find: async (match, facts, { section }) =>
      (await facts.fields(section, ({ value }) => value === Number(match[1])))[0],
  },
  {
    pattern: /^vmstate: get_nullptr expected VMS_NULLPTR_MARKER$/,
    cause: "an element that is empty on one side is there on the other",
    advice: SAME_GUEST,
  },
  {
    pattern: /^Input validation failed: (.+)\/(.+)$/,
    cause: "$1 refuses what was loaded: $2",
    advice: "the values of the device contradict each other: another version of it, or damage",
    find: (match, facts, { section }) => facts.inSection(section ?? facts.section(match[1]), "idstr"),
  },
  {
    pattern: /^(.+) inconsistent stream when loading the gtree$/,
    cause: "tree $1 does not have as many nodes as it says",
    advice: DAMAGED,
    find: async (match, facts, { section }) =>
      (await facts.fields(section, ({ path }) => path.includes(match[1]) && path.endsWith(".count")))[0],
  },
  {
    pattern: /^irq state (-?\d+): must be 0 or 1\.$/,
    cause: "an interrupt line of a PCI device is $1: the section was read at the wrong place, or is damaged",
    advice: DAMAGED,
    find: async (match, facts, { section }) =>
      (await facts.fields(section, ({ path, value }) => /irq_state/.test(path) && value === Number(match[1])))[0],
  },
  {
    pattern: /^invalid parameter value: (.*)$/,
    cause: "globalstate holds the run state $1, which this QEMU does not know",
    advice: "use a QEMU at least as new as the source",
    find: async (_, facts) =>
      (await facts.fields(facts.section("globalstate"), ({ path }) => path.endsWith(".runstate")))[0],
  },
  {
    pattern: /^error while loading state for instance 0x([0-9a-f]+) of device '(.+)'$/,
    cause: "it happened in the state of $2",
    advice: "lines above it say what; without any the device itself refused, or a subsection is unknown to this QEMU",
    find: (match, facts) =>
      facts.inSection(facts.section(match[2], parseInt(match[1], 16)) ?? facts.section(match[2]), "type"),
    frame: true,
  },
  {
    pattern: /^error while loading state section id (\d+)\((.+)\)$/,
    cause: "it happened in a later part of $2",
    advice: "lines above it say what; without any the stream ended there",
    find: (match, facts) => facts.inSection(facts.sectionById(Number(match[1])) ?? facts.section(match[2]), "type"),
    frame: true,
  },
];
