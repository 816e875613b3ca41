/**
 * What `why` asks a file: where its sections, blocks, commands and fields are, and what is wrong with it anyway.
 * @module
 */
import { explainImage, type ExplainLine, type ExplainOptions } from "./explain.ts";
import type { ReportInput } from "./input.ts";
import { type Finding, verifyImage, type VerifyOptions } from "./verify.ts";

/** Lines that are kept; a stream with more sections than that is looked at up to there. */
const LINE_LIMIT = 1 << 18;

/** A place in the file, or in a further channel. */
export interface WhyPlace {
  /** Left out: the file. "multifd 1" */
  readonly channel?: string;
  /** In bytes. */
  readonly offset: number;
  /** As `explain` names it. */
  readonly path: string;
  /** What stands there, where that was decoded. */
  readonly value?: ExplainLine["value"];
}

/** A section in the file. */
export interface WhySection {
  readonly idstr: string;
  readonly instanceId: number;
  readonly sectionId: number;
  /** Index of `sections[N]`. */
  readonly index: number;
}

/** Lines outside of device bodies and pages; of sections that come in thousands of parts only the last part. */
class FrameLines {
  readonly #lines: ExplainLine[] = [];
  readonly #lastParts = new Map<string, ExplainLine[]>();
  /** Lines of the part that is being read. */
  #part: ExplainLine[] | undefined;

  take(line: ExplainLine): void {
    const { path, value } = line;
    const inSection = path.startsWith("sections[");
    if (
      inSection &&
      !/^sections\[\d+\](\.ram\b|\["dirty-bitmap"\]|\.(type|id|idstr|instanceId|version|footer)\b)/.test(path)
    ) return;
    if (/\.records\[|\.pages\[|\.gap$|^vmdescription\.json$/.test(path)) return;
    if (!inSection) this.#part = undefined;
    else if (/^sections\[\d+\]\.type$/.test(path)) this.#part = value === 2 || value === 3 ? [] : undefined;
    else if (this.#part?.length === 1 && path.endsWith(".id")) this.#lastParts.set(String(value), this.#part);
    const into = this.#part ?? this.#lines;
    if (into.length < LINE_LIMIT) into.push({ ...line, raw: NOTHING });
  }

  all(): ExplainLine[] {
    return [...this.#lines, ...[...this.#lastParts.values()].flat()].sort((a, b) => a.offset - b.offset);
  }
}

const NOTHING = new Uint8Array();

/** Answers from one file. */
export class WhyFacts {
  /** What `verify` found, by offset. */
  readonly findings: readonly Finding[];
  readonly sections: readonly WhySection[];
  readonly #lines: readonly ExplainLine[];
  readonly #input: ReportInput;
  readonly #options: ExplainOptions;

  private constructor(
    input: ReportInput,
    options: ExplainOptions,
    findings: readonly Finding[],
    lines: readonly ExplainLine[],
  ) {
    this.#input = input;
    this.#options = options;
    this.findings = findings;
    this.#lines = lines;
    this.sections = sectionsIn(lines);
  }

  /** Go through a file twice: once for what is wrong, once for what is where. */
  static async of(input: ReportInput, whole: VerifyOptions): Promise<WhyFacts> {
    const { findings } = await verifyImage(input, whole);
    const { channels: _, ...options } = whole;
    const kept = new FrameLines();
    if (!findings.some(({ path }) => path === "container")) {
      for await (const line of explainImage(input, { ...options, pages: "runs" })) kept.take(line);
    }
    const lines = kept.all();
    return new WhyFacts(input, options, findings, lines);
  }

  /** The first error: what comes behind it follows from it. */
  get damage(): Finding | undefined {
    return this.findings.find(({ severity }) => severity === "error");
  }

  /** The damage for which QEMU says this sentence. */
  damageFor(message: string): Finding | undefined {
    const said = this.findings.some(({ severity, message: text }) => severity === "error" && text.includes(message));
    return said ? this.damage : undefined;
  }

  /** The line of a path, and of a value. */
  line(path: RegExp, value?: ExplainLine["value"]): WhyPlace | undefined {
    const found = this.#lines.find((line) => path.test(line.path) && (value === undefined || line.value === value));
    return found && place(found);
  }

  /** A field of a section's frame: "version", "footer.mark". The section's head where there is no such field. */
  inSection(section: WhySection | undefined, field: string): WhyPlace | undefined {
    if (!section) return undefined;
    const at = (name: string) => this.#lines.find(({ path }) => path === `sections[${section.index}].${name}`);
    const found = at(field) ?? at("type");
    return found && place(found);
  }

  /** The section that announces a device; without an instance the first of that name. */
  section(idstr: string, instanceId?: number): WhySection | undefined {
    return this.sections.find((each) =>
      each.idstr === idstr && (instanceId === undefined || each.instanceId === instanceId)
    );
  }

  /** The last section of that id: the one that was being read when it went wrong further on. */
  sectionById(id: number): WhySection | undefined {
    const announced = this.sections.find(({ sectionId }) => sectionId === id);
    const index = this.#lines.findLast(({ path, value }) => /^sections\[\d+\]\.id$/.test(path) && value === id)?.path;
    return announced && index ? { ...announced, index: Number(/\d+/.exec(index)![0]) } : announced;
  }

  /** A member of a block's entry in the list: "usedLength". */
  inBlock(idstr: string, field: string): WhyPlace | undefined {
    const entry = this.#lines.find(({ path, value }) => /\.ram\.blocks\[\d+\]\.idstr$/.test(path) && value === idstr);
    const found = entry && this.#lines.find(({ path }) => path === entry.path.replace(/idstr$/, field));
    return found ? place(found) : entry && place(entry);
  }

  /** Fields of a device: all lines of its section's body that pass, at most 64. */
  async fields(section: WhySection | undefined, pass: (line: ExplainLine) => boolean): Promise<WhyPlace[]> {
    if (!section) return [];
    const found: WhyPlace[] = [];
    for await (const line of explainImage(this.#input, { ...this.#options, section: section.idstr, pages: "runs" })) {
      if (line.path.startsWith(`sections[${section.index}]`) && pass(line)) found.push(place(line));
      if (found.length === 64) break;
    }
    return found;
  }

  /** The first page record at an offset of a block; of any block where none is named. */
  async record(offset: number, block?: string): Promise<WhyPlace | undefined> {
    const want = `${block ?? ""}:0x${offset.toString(16)} `;
    for await (const line of explainImage(this.#input, { ...this.#options, section: "ram", pages: "each" })) {
      if (!/\.records\[\d+\]$/.test(line.path) || typeof line.value !== "string") continue;
      if (block ? line.value.startsWith(want) : line.value.includes(want)) return place(line);
    }
    return undefined;
  }
}

function place({ offset, path, value }: ExplainLine): WhyPlace {
  return { offset, path, ...(value !== undefined ? { value } : {}) };
}

function sectionsIn(lines: readonly ExplainLine[]): WhySection[] {
  const sections: WhySection[] = [];
  let id = 0, idstr = "";
  for (const { path, value } of lines) {
    const match = /^sections\[(\d+)\]\.(id|idstr|instanceId)$/.exec(path);
    if (!match) continue;
    if (match[2] === "id") id = Number(value);
    else if (match[2] === "idstr") idstr = String(value);
    else sections.push({ idstr, instanceId: Number(value), sectionId: id, index: Number(match[1]) });
  }
  return sections;
}
