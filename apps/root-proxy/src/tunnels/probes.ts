import { randomBytes } from 'node:crypto';
import { outcomeFromWire } from '@xylem/carrier';
import type { FramePort } from '@xylem/carrier';
import { ServingCheck } from '@xylem/discovery';
import type { Random, ServingConfig, ServingEffect, ServingEvent, TunnelId } from '@xylem/discovery';
import { now } from '../clock.ts';
import { Driver } from '../driver.ts';

/** Payload of a probe: nobody who did not read it can send it back. */
const PROBE_BYTES = 32;

export interface ProbePorts {
  /** Sends a dial of the probe node on the tunnel's control stream. */
  send(tunnel: TunnelId, connection: string, timeoutMs: number): void;
  /** The round trip of a probe. */
  answered(roundTripMs: number): void;
  /** The tunnel's holder does not serve its claim. */
  unserved(tunnel: TunnelId, detail: string): void;
}

interface Checked {
  readonly driver: Driver<ServingEvent, ServingEffect>;
  /** The probe that is out. */
  sent: Sent | undefined;
}

interface Sent {
  readonly probe: number;
  readonly connection: string;
  readonly at: number;
}

/** Asks every holder of a claim, again and again, whether it serves: a ServingCheck for each tunnel. */
export class Probes {
  readonly #config: ServingConfig;
  readonly #random: Random;
  readonly #ports: ProbePorts;
  readonly #checked = new Map<TunnelId, Checked>();

  constructor(config: ServingConfig, random: Random, ports: ProbePorts) {
    this.#config = config;
    this.#random = random;
    this.#ports = ports;
  }

  /** The tunnel holds a claim. `suspect`: as RootDiscovery says of its agent. */
  claimed(tunnel: TunnelId, suspect: boolean): void {
    this.#of(tunnel).driver.feed({ type: 'claimGranted', suspect });
  }

  /** Nothing is asked of the tunnel any more, until it is claimed again. */
  ended(tunnel: TunnelId): void {
    const checked = this.#checked.get(tunnel);
    if (checked === undefined) return;
    this.#checked.delete(tunnel);
    checked.driver.stop();
  }

  /** A user's dial on this tunnel got no answer in its time. */
  doubt(tunnel: TunnelId): void {
    this.#checked.get(tunnel)?.driver.feed({ type: 'dialUnanswered' });
  }

  /** Reads the answer to a probe. False: the stream answers something else, and is left as it is. */
  take(tunnel: TunnelId, connection: string, frames: FramePort): boolean {
    const checked = this.#checked.get(tunnel);
    const sent = checked?.sent;
    if (checked === undefined || sent?.connection !== connection) return false;
    void this.#exchange(frames).then((good) => {
      // Nobody waits any more: it was given up, or the claim has ended.
      if (checked.sent !== sent) return;
      checked.sent = undefined;
      if (good) this.#ports.answered(now() - sent.at);
      checked.driver.feed({ type: good ? 'probeAnswered' : 'probeFailed', probe: sent.probe });
    });
    return true;
  }

  stop(): void {
    for (const tunnel of [...this.#checked.keys()]) this.ended(tunnel);
  }

  #of(tunnel: TunnelId): Checked {
    const found = this.#checked.get(tunnel);
    if (found !== undefined) return found;
    const core = new ServingCheck(this.#config, this.#random, now());
    const checked: Checked = { driver: new Driver(core, (effect) => this.#perform(tunnel, effect)), sent: undefined };
    this.#checked.set(tunnel, checked);
    return checked;
  }

  #perform(tunnel: TunnelId, effect: ServingEffect): void {
    const checked = this.#checked.get(tunnel);
    if (checked === undefined) return;
    switch (effect.type) {
      case 'sendProbe': {
        const connection = randomBytes(16).toString('base64url');
        checked.sent = { probe: effect.probe, connection, at: now() };
        return this.#ports.send(tunnel, connection, this.#config.timeoutMs);
      }
      case 'dropProbe':
        checked.sent = undefined;
        return;
      case 'reportUnserved': {
        const { failures } = effect;
        const times = failures === 1 ? 'a probe' : `${failures} probes in a row`;
        return this.#ports.unserved(
          tunnel,
          `${times} of the way that dials go came to nothing, though PINGs are answered`,
        );
      }
    }
  }

  /**
   * What is sent comes back. A refusal in words is an answer, too: it took the same way, and agents from before there were probes
   * give it, who know no such node.
   */
  async #exchange(frames: FramePort): Promise<boolean> {
    const { timeoutMs } = this.#config;
    const first = await frames.first(timeoutMs);
    const kind = first.kind === 'frame' ? first.frame.kind : undefined;
    const outcome = kind?.$case === 'outcome' ? outcomeFromWire(kind.value.code) : undefined;
    if (outcome !== 'connected') {
      finish(frames, outcome !== undefined);
      return outcome !== undefined;
    }
    const payload = randomBytes(PROBE_BYTES);
    frames.send({ kind: { $case: 'data', value: payload } });
    const second = await frames.first(timeoutMs);
    const echo = second.kind === 'frame' ? second.frame.kind : undefined;
    const good = echo?.$case === 'data' && payload.equals(echo.value);
    finish(frames, good);
    return good;
  }
}

function finish(frames: FramePort, orderly: boolean): void {
  if (!orderly) return frames.cancel('that is no answer to a probe');
  frames.listen({ frame: () => undefined, writable: () => undefined, over: () => undefined });
  frames.end();
}
