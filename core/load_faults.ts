/**
 * What is said about a load that failed: QEMU's lines, from the inside out.
 * @module
 */
import { hex, StreamError, UnsupportedError } from "../stream/errors.ts";
import type { SectionRecord } from "../stream/records.ts";
import type { LoadRequest } from "./dataplane.ts";

/** A feature stands in the way. */
export function unsupported(
  { channel, offset }: { readonly channel: string; readonly offset: number },
  feature: string,
  found: string,
  expected?: string,
): never {
  throw new UnsupportedError(`Cannot load a stream of ${feature}`, {
    channel,
    offset,
    found,
    ...(expected === undefined ? {} : { expected }),
    feature,
  });
}

/** What a multifd channel says of its end is the whole story. */
export function reportChannel({ report, channelFailed }: LoadRequest, error: Error): void {
  const description = error instanceof StreamError ? error.qemu[0] ?? error.message : error.message;
  channelFailed?.(description);
  // other errors are reported by who asked for the load
  if (error instanceof StreamError) report(description);
}

/** Say what QEMU says about the fault: from the inside out, then the section it happened in. */
export function reportFault({ report }: LoadRequest, error: unknown, section: SectionRecord | undefined): void {
  const lines = error instanceof StreamError ? [...error.qemu] : [];
  const framing = lines.some((line) => /section footer|Mismatched section|error while loading/.test(line));
  if (section && !framing) {
    const { type, idstr, instanceId, sectionId } = section;
    lines.push(
      type === "start" || type === "full"
        ? `error while loading state for instance ${hex(instanceId)} of device '${idstr}'`
        : `error while loading state section id ${sectionId}(${idstr})`,
    );
  }
  for (const line of lines) report(line);
}
