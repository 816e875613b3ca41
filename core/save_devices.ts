/**
 * Sections of a stream that are not RAM: iterables with their START, PARTs and END, devices, and the description of devices.
 *
 * Source: QEMU migration/savevm.c qemu_savevm_state_setup, qemu_savevm_state_complete_precopy, vmstate_save.
 * @module
 */
import { globalStateBody } from "../guest/global_state.ts";
import type { DeviceSection, Guest, RunState } from "../guest/guest.ts";
import * as encode from "../stream/encode.ts";
import { configurationText, writeVmdescription } from "../stream/vmdesc.ts";
import type { StreamWriter } from "../stream/writer.ts";

/** Writes what a guest has besides RAM. */
export class DeviceWriter {
  readonly #guest: Guest;
  readonly #writer: StreamWriter;
  readonly #runState: () => RunState;

  /** @param runState what `globalstate` tells: the state before the migration stopped the guest */
  constructor(guest: Guest, writer: StreamWriter, runState: () => RunState) {
    this.#guest = guest;
    this.#writer = writer;
    this.#runState = runState;
  }

  /** START of every iterable but RAM. */
  async starts(): Promise<void> {
    for (const section of this.#guest.iterables) {
      await encode.encodeSection(this.#writer, { type: "start", ...section });
      await this.#writer.put(section.start);
      await this.footer(section.sectionId);
    }
  }

  /** What the iterables have left, and their END. */
  async ends(): Promise<void> {
    for (const section of this.#guest.iterables) {
      for (const part of section.parts) {
        await encode.encodeSection(this.#writer, { type: "part", ...section });
        await this.#writer.put(part);
        await this.footer(section.sectionId);
      }
      if (!section.end) continue;
      await encode.encodeSection(this.#writer, { type: "end", ...section });
      await this.#writer.put(section.end);
      await this.footer(section.sectionId);
    }
  }

  /** Devices that go before RAM, or those that go behind it. */
  async bodies(early: boolean): Promise<void> {
    for (const device of this.#guest.devices) if (early === (device.early === true)) await this.#device(device);
  }

  /**
   * Text of the description of all devices that were written.
   * @param configuration where the stream has one
   */
  description(configuration: Parameters<typeof configurationText>[0] | undefined): string {
    const { devices, targetPageSize } = this.#guest;
    const sent = devices.filter((device) => !this.#isLeftOut(device));
    const inOrder = [...sent.filter(({ early }) => early), ...sent.filter(({ early }) => !early)];
    return writeVmdescription({
      ...(configuration ? { configurationText: configurationText(configuration) } : {}),
      pageSize: targetPageSize,
      deviceTexts: inOrder.map((device) => device.description ?? oldStyleDescription(device)),
    });
  }

  /** End of a section, where the machine's streams have it. */
  async footer(sectionId: number): Promise<void> {
    if (this.#guest.globals.sendSectionFooter) await encode.encodeFooter(this.#writer, sectionId);
  }

  async #device(device: DeviceSection): Promise<void> {
    if (this.#isLeftOut(device)) return;
    await encode.encodeSection(this.#writer, { type: "full", ...device });
    await this.#writer.put(device.idstr === "globalstate" ? globalStateBody(this.#runState()) : device.body);
    await this.footer(device.sectionId);
  }

  #isLeftOut({ idstr }: DeviceSection): boolean {
    return idstr === "globalstate" && !this.#guest.globals.storeGlobalState;
  }
}

/** How QEMU describes a device that has no fields of its own: one buffer (savevm.c vmstate_save_old_style). */
function oldStyleDescription(device: DeviceSection): string {
  const size = device.body.length;
  return `{"name": ${JSON.stringify(device.idstr)}, "instance_id": ${device.instanceId}, "size": ${size}, ` +
    `"fields": [{"name": "data", "size": ${size}, "type": "buffer"}]}`;
}
