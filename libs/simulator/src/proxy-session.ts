import { defaultRegistryLinkConfig } from '@xylem/discovery';
import type { InstanceNonce, ProxyId, RegistryEffect, RegistryEvent, RootEvent, Snapshot } from '@xylem/discovery';
import type { SessionRequest } from '@xylem/membership';
import type { CoreMakers, LinkCore } from './cores.ts';
import type { Host } from './host.ts';
import type { End } from './network.ts';
import { claimEvent, linkEvent } from './registry-messages.ts';
import type { SessionDown, SessionUp } from './registry-process.ts';

/** What the session needs of the root proxy around it. */
export interface SessionOwner {
  readonly host: Host;
  readonly id: ProxyId;
  readonly nonce: InstanceNonce;
  readonly generation: number;
  note(what: string): void;
  /** Opens a stream to a registry; answers undefined when nothing accepts. */
  connect(registry: string, answer: (end: End | undefined) => void): void;
  /** Hands the claim core an event; the caller runs the effects. */
  inform(event: RootEvent): void;
  /** Runs all effects of both cores. */
  perform(): void;
  ended(): void;
}

/** A root proxy's link to the registries: the product's `RegistryLink` with its streams simulated. */
export class ProxySession {
  readonly #owner: SessionOwner;
  readonly #registries: readonly string[];
  readonly #make: CoreMakers['link'];
  #link: LinkCore | undefined;
  #session: { readonly number: number; readonly end: End } | undefined;
  #contested = false;

  constructor(owner: SessionOwner, registries: readonly string[], make: CoreMakers['link']) {
    this.#owner = owner;
    this.#registries = registries;
    this.#make = make;
  }

  get link(): LinkCore | undefined {
    return this.#link;
  }

  /** Whether a registry refused it for another live instance, and none has welcomed it since. */
  get contested(): boolean {
    return this.#contested;
  }

  start(): void {
    this.#session = undefined;
    this.#contested = false;
    this.#link = this.#make(defaultRegistryLinkConfig(this.#registries), this.#owner.host);
  }

  crash(): void {
    this.#link = undefined;
    this.#session = undefined;
  }

  /** Performs one effect of the link; false when there is none. */
  step(): boolean {
    const effect = this.#link?.pollEffect();
    if (effect !== undefined) this.#do(effect);
    return effect !== undefined;
  }

  timeout(now: number): void {
    const due = this.#link?.nextTimeout();
    if (due !== undefined && due <= now) this.#link?.handle({ type: 'timeout' }, now);
  }

  tell(event: RegistryEvent): void {
    this.#link?.handle(event, this.#owner.host.now);
  }

  /** Asks the registry about a claim; `otherwise` is what the claim core hears when there is no session. */
  ask(request: SessionRequest, otherwise: RootEvent): void {
    const session = this.#session;
    if (session === undefined) {
      this.#owner.host.after(0, () => this.#informed(otherwise));
      return;
    }
    const message: SessionUp = { request };
    session.end.send(message);
  }

  #informed(event: RootEvent): void {
    this.#owner.inform(event);
    this.#owner.perform();
  }

  #handle(event: RegistryEvent): void {
    this.tell(event);
    this.#owner.perform();
  }

  #do(effect: RegistryEffect): void {
    switch (effect.type) {
      case 'openSession':
        return this.#open(effect);
      case 'closeSession': {
        const session = this.#session?.number === effect.session ? this.#session : undefined;
        if (session !== undefined) this.#session = undefined;
        session?.end.close();
        return void this.#owner.host.after(0, () =>
          this.#handle({ type: 'sessionEnded', session: effect.session, detail: effect.detail }),
        );
      }
      case 'sendHeartbeat':
        return this.#request(effect.session, { type: 'heartbeat', sequence: effect.sequence });
      case 'sendDrain':
        return this.#request(effect.session, { type: 'drain' });
      case 'sendLeave':
        return this.#request(effect.session, { type: 'leave' });
      case 'sendEvidence':
        return this.#request(effect.session, { type: 'evidence', stamp: effect.evidence.stamp });
      case 'reportConnected':
        this.#contested = false;
        this.#owner.note(`is registered as incarnation ${String(effect.incarnation)}`);
        return this.#owner.inform({ type: 'registryConnected', incarnation: effect.incarnation });
      case 'reportLost':
        this.#owner.note('has no registry');
        return this.#owner.inform({ type: 'registryLost' });
      case 'reportMembership':
        return this.#membership(effect.snapshot);
      case 'reportClaims':
        return this.#owner.inform({ ...effect, type: 'claimsObserved' });
      case 'reportLeft':
        this.#owner.note('has left');
        return void this.#owner.host.after(0, () => this.#owner.ended());
    }
  }

  #membership(snapshot: Snapshot): void {
    const { epoch, revision } = snapshot.stamp;
    this.#owner.note(
      `knows (${snapshot.proxies.map((proxy) => proxy.id).join(',')}) as of ${String(epoch)}.${String(revision)}`,
    );
    this.#owner.inform({ type: 'membershipChanged', snapshot });
  }

  #request(session: number, request: SessionRequest): void {
    const message: SessionUp = { request };
    if (this.#session?.number === session) this.#session.end.send(message);
  }

  #open(effect: Extract<RegistryEffect, { type: 'openSession' }>): void {
    const { session: number } = effect;
    const ended = (detail: string): void => {
      if (this.#session?.number === number) this.#session = undefined;
      this.#handle({ type: 'sessionEnded', session: number, detail });
    };
    this.#owner.connect(
      effect.registry,
      this.#owner.host.bind((end) => {
        if (end === undefined) return ended('refused');
        this.#session = { number, end };
        end.listen({ onMessage: (message) => this.#answered(number, message as SessionDown), onEnd: ended });
        this.#request(number, this.#hello(effect.incarnation));
      }),
    );
  }

  #hello(incarnation: bigint): SessionRequest {
    const { id, host, nonce, generation } = this.#owner;
    return {
      type: 'hello',
      minVersion: 1,
      maxVersion: 1,
      proxy: id,
      instanceNonce: nonce,
      peerAddress: `${host.name}:7201`,
      tunnelAddress: `${host.name}:7200`,
      generation,
      software: 'simulated',
      incarnation,
      newestStamp: this.#link?.view()?.stamp,
    };
  }

  #answered(session: number, { reply }: SessionDown): void {
    if (this.#session?.number !== session) return;
    if (reply.type === 'refused' && reply.code === 'duplicate-id') this.#contested = true;
    const forLink = linkEvent(session, reply);
    if (forLink !== undefined) return this.#handle(forLink);
    const forRoot = claimEvent(reply);
    if (forRoot === undefined) return;
    if (forRoot.type === 'claimRefused')
      this.#owner.note(`finds its slot recorded for ${forRoot.holder?.agent ?? 'nobody it was told of'}`);
    this.#informed(forRoot);
  }
}
