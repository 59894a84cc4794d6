import { FramePort } from '@xylem/carrier';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel, MessageStream } from '@xylem/grpc';
import { RawFrameMethods, TunnelService } from '@xylem/wire';
import type { tunnel } from '@xylem/wire';
import { DOMAIN } from './credentials.ts';
import { eventually } from './world.ts';
import type { World, WorldProxy } from './world.ts';

type Answer = NonNullable<tunnel.AttachResponse['kind']>;

/** A leaf agent that does what a test tells it: for what an honest one never does. */
export class ScriptedAgent {
  readonly channel: GrpcChannel;
  readonly stream: MessageStream<tunnel.AttachRequest, tunnel.AttachResponse>;
  readonly #answers: AsyncIterator<tunnel.AttachResponse>;

  private constructor(channel: GrpcChannel) {
    this.channel = channel;
    this.stream = channel.stream(TunnelService.attach);
    this.#answers = this.stream[Symbol.asyncIterator]();
  }

  /** Attached at `proxy` with a claim of leaf cluster `leaf`, offering node web with port 80. */
  static async attach(world: World, proxy: WorldProxy, leaf: string, agent: string): Promise<ScriptedAgent> {
    const tls = await world.credentials.source({ kind: 'agent', leaf, agent });
    const channel = createChannel({ address: `127.0.0.1:${proxy.ports.tunnel}`, tls, serverName: DOMAIN });
    await channel.connect();
    const scripted = new ScriptedAgent(channel);
    const hello = {
      minVersion: 1,
      maxVersion: 1,
      leaf,
      agent,
      instanceNonce: 'scripted',
      tunnelId: 't1',
      replacesTunnelId: '',
      wantedProxy: '',
      nodes: [{ name: 'web', ports: [80] }],
      software: 'test',
      traceparent: '',
    };
    scripted.say({ $case: 'hello', value: hello });
    await scripted.hears('claimGranted');
    await eventually('the policy is known', () => (proxy.status().policyVersion ?? 0) > 0);
    return scripted;
  }

  say(kind: NonNullable<tunnel.AttachRequest['kind']>): void {
    this.stream.send({ kind });
  }

  /** The next message of this kind; others are skipped, PINGs answered. */
  async hears<Case extends Answer['$case']>($case: Case): Promise<Extract<Answer, { $case: Case }>> {
    for (;;) {
      const { value, done } = await this.#answers.next();
      if (done === true) throw new Error(`the tunnel ended before ${$case}`);
      const kind: Answer | undefined = value.kind;
      if (kind?.$case === 'ping') this.say({ $case: 'pong', value: kind.value });
      if (kind !== undefined && isCase(kind, $case)) return kind;
    }
  }

  /** Opens Carry for a dial. */
  carry(connection: string): FramePort {
    return new FramePort(this.channel.duplex(RawFrameMethods.carry, { 'xylem-connection': connection }));
  }
}

function isCase<Case extends Answer['$case']>(kind: Answer, $case: Case): kind is Extract<Answer, { $case: Case }> {
  return kind.$case === $case;
}
