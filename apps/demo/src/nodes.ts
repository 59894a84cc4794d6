import type { HostTools } from './config.ts';
import type { Files } from './files.ts';
import { CLOSED_PORT, ECHO_PORT, HTTP_PORT, LEAVES, PORT, SSH_PORT } from './layout.ts';
import type { Leaf } from './layout.ts';
import { ownProgram } from './paths.ts';
import type { Ports } from './ports.ts';
import { prepareSshd, writeSshClient } from './ssh.ts';
import type { SshNode } from './ssh.ts';

interface NodeProgram {
  readonly name: string;
  /** Arguments of Node. */
  readonly args: readonly string[];
  /** Prints `service.ready` when it is. */
  readonly announces: boolean;
}

interface LeafAddresses {
  readonly http: string;
  readonly echo: string;
  /** Nothing listens here: what a service that is down looks like. */
  readonly closed: string;
}

/** The servers behind the firewall: web and echo in each leaf cluster, and an sshd in berlin where OpenSSH is there. */
export class Nodes {
  readonly #addresses: ReadonlyMap<Leaf, LeafAddresses>;
  readonly #ssh: (SshNode & { readonly address: string }) | undefined;

  private constructor(
    addresses: ReadonlyMap<Leaf, LeafAddresses>,
    ssh: (SshNode & { readonly address: string }) | undefined,
  ) {
    this.#addresses = addresses;
    this.#ssh = ssh;
  }

  static async prepare(files: Files, ports: Ports, tools: HostTools): Promise<Nodes> {
    const addresses = new Map<Leaf, LeafAddresses>();
    let preferred: number = PORT.nodeBase;
    for (const leaf of LEAVES) {
      const [http, echo, closed] = [
        await ports.address(preferred),
        await ports.address(preferred + 1),
        await ports.address(preferred + 2),
      ];
      addresses.set(leaf, { http, echo, closed });
      preferred += 10;
    }
    const address = await ports.address(preferred);
    const ssh = await prepareSshd(tools, files.plain('ssh'), files, address);
    return new Nodes(addresses, ssh === undefined ? undefined : { ...ssh, address });
  }

  get hasSsh(): boolean {
    return this.#ssh !== undefined;
  }

  programs(): readonly NodeProgram[] {
    const programs = [...this.#addresses].map(([leaf, { http, echo }]) => {
      const args = [ownProgram('processes/nodes.ts'), '--http', http, '--echo', echo, '--name', leaf];
      return { name: `${leaf}/nodes`, args, announces: true };
    });
    const ssh = this.#ssh;
    if (ssh === undefined) return programs;
    const args = [ownProgram('processes/guard.ts'), ssh.sshd, '-D', '-e', '-f', ssh.configFile];
    return [...programs, { name: 'berlin/sshd', args, announces: false }];
  }

  /** The `nodes` of an agent's configuration. */
  listOf(leaf: Leaf): readonly object[] {
    const addresses = this.#addresses.get(leaf);
    if (addresses === undefined) return [];
    const ssh = leaf === 'berlin' && this.#ssh !== undefined ? [{ port: SSH_PORT, address: this.#ssh.address }] : [];
    const http = { port: HTTP_PORT, address: addresses.http };
    return [
      { name: 'web', ports: [...ssh, http, { port: CLOSED_PORT, address: addresses.closed }] },
      { name: 'echo', ports: [{ port: ECHO_PORT, address: addresses.echo }] },
    ];
  }

  writeSshClient(files: Files, xylem: string): string | undefined {
    return this.#ssh === undefined ? undefined : writeSshClient(files, this.#ssh, 'web.berlin', xylem);
  }
}
