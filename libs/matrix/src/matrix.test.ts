import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { access } from '@xylem/wire';
import type { tunnel } from '@xylem/wire';
import { buildMatrix } from './matrix.ts';
import { renderMatrix } from './render.ts';
import { duration } from './text.ts';

const NOTHING = access.TunnelStatus.fromPartial({});

function proxy(
  id: string,
  tunnels: readonly Partial<access.TunnelStatus>[],
  more: { answered?: boolean; detail?: string; state?: 1 | 2 } = {},
): access.ProxyStatus {
  const { answered = true, detail = '', state = 1 } = more;
  const info = { id, incarnation: 7n, state };
  const status = access.ProxyStatus.fromPartial({ proxy: info, answered, detail, registryConnected: true });
  return { ...status, tunnels: tunnels.map((entry) => ({ ...NOTHING, ...entry })) };
}

function statusOf(...proxies: access.ProxyStatus[]): access.GetStatusResponse {
  const stamp = { epoch: 1n, revision: 9n };
  return { ...access.GetStatusResponse.fromPartial({ answeredBy: 'p1', registryConnected: true, stamp }), proxies };
}

function pool(id: string, state: string, why: string): tunnel.PoolReport {
  return { dialsTotal: 5n, wastedDialsTotal: 1n, entries: [{ proxy: id, state, why, via: '' }] };
}

describe('matrix', () => {
  it('joins tunnels of all proxies with the pools of the agents', () => {
    const matrix = buildMatrix(
      statusOf(
        proxy('p10', [{ leaf: 'tokyo', agent: 'a1', state: 'claimed' }]),
        proxy('p2', [
          {
            leaf: 'berlin',
            agent: 'a1',
            state: 'claimed',
            via: 'p10',
            openConnections: 2,
            pool: pool('p10', 'backoff', 'refused, next dial in 2 s'),
          },
          { leaf: 'berlin', agent: 'a2', state: 'standby' },
          { leaf: 'tokyo', agent: 'a1', state: 'provisional' },
        ]),
      ),
    );
    assert.deepEqual(
      matrix.proxies.map((column) => column.proxy),
      ['p2', 'p10'],
    );
    assert.deepEqual(
      matrix.leaves.map(({ leaf, unclaimed }) => [leaf, unclaimed]),
      [
        ['berlin', ['p10']],
        ['tokyo', []],
      ],
    );
    assert.equal(matrix.complete, false);
    assert.deepEqual(renderMatrix(matrix, { color: false }), [
      '        p2                  p10      dials',
      'berlin',
      '  a1    claimed via p10 +2  backoff  5 (1 wasted)',
      '  a2    standby             -        0',
      'tokyo',
      '  a1    provisional         claimed  0',
      '',
      'berlin does not hold p10: a1 refused, next dial in 2 s; a2 has not heard of it',
    ]);
  });

  it('is complete when every live proxy is held by every leaf cluster', () => {
    const matrix = buildMatrix(
      statusOf(
        proxy('p1', [
          { leaf: 'berlin', agent: 'a1', state: 'claimed' },
          { leaf: 'berlin', agent: 'a1', state: 'standby' },
        ]),
        proxy('p2', [], { state: 2 }),
      ),
    );
    assert.equal(matrix.complete, true);
    assert.match(
      renderMatrix(matrix, { color: false }).join('\n'),
      /p2 \(draining\)[^]*every live root proxy is claimed by every leaf cluster$/,
    );
  });

  it('says which proxy is silent, and that nobody is attached', () => {
    const matrix = buildMatrix(statusOf(proxy('p1', []), proxy('p2', [], { answered: false, detail: 'deadline' })));
    assert.equal(matrix.complete, false);
    const text = renderMatrix(matrix, { color: false }).join('\n');
    assert.match(text, /p2: deadline\nno agent is attached anywhere$/);
  });

  it('keeps control characters of names and reasons from the terminal', () => {
    const evil = '\u001b]52;c;AA\u0007\u202e\n';
    const matrix = buildMatrix(
      statusOf(
        proxy(evil, [{ leaf: evil, agent: evil, state: 'claimed', via: evil }]),
        proxy('p2', [], { answered: false, detail: evil }),
      ),
    );
    assert.match(renderMatrix(matrix, { color: false }).join(''), /^[\x20-\x7e]*$/);
  });

  it('ignores states of a later version', () => {
    const [row] = buildMatrix(statusOf(proxy('p1', [{ leaf: 'l', agent: 'a', state: 'constructor' }]))).leaves;
    assert.equal(row?.agents[0]?.cells[0]?.state, 'unknown');
  });
});

describe('duration', () => {
  it('is short at every size', () => {
    assert.deepEqual([0.4, 12, 3_400, 42_000, 300_000, 4e7, 9e8].map(duration), [
      '0 ms',
      '12 ms',
      '3.4 s',
      '42 s',
      '5 min',
      '11 h',
      '10 d',
    ]);
  });
});
