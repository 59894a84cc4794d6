import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configProblems } from './testing/agent.ts';

const GOOD = `
leaf: berlin
agent: a1
root: root.example.com:7200
tls: { ca: ${process.execPath}, cert: ${process.execPath}, key: ${process.execPath} }
nodes:
  - name: web
    ports: [{ port: 80, address: "10.0.0.5:8080" }]
`;

test('a complete file has no problems, and flags win over it', () => {
  assert.deepEqual(configProblems([], GOOD), []);
  const [problem] = configProblems(['--steering', 'sometimes'], GOOD);
  assert.equal(problem?.key, 'steering');
});

test('every mistake is listed with its key', () => {
  const bad = `
leaf: Berlin
agent: -a1
root: root.example.com
tls: { ca: /nowhere/ca.pem, cert: ${process.execPath} }
steering: maybe
maxConnectionsPerTunnel: 5000
nodes:
  - name: web
    ports: [{ port: 80, address: "10.0.0.5" }, { port: 80, address: "10.0.0.5:8080" }]
  - name: web
    ports: []
surprise: 1
`;
  const keys = configProblems([], bad).map(({ key }) => key);
  for (const key of [
    'leaf',
    'agent',
    'root',
    'tls.ca',
    'tls.key',
    'steering',
    'maxConnectionsPerTunnel',
    'nodes[0].ports[0].address',
    'nodes[1].ports',
    'surprise',
  ]) {
    assert.ok(keys.includes(key), `${key} is named among ${keys.join(', ')}`);
  }
});

test('a node or port that is listed twice is named', () => {
  const twice = `${GOOD}  - name: web
    ports: [{ port: 81, address: "10.0.0.5:81" }, { port: 81, address: "10.0.0.5:82" }]
`;
  assert.deepEqual(
    configProblems([], twice).map(({ key, detail }) => [key, detail]),
    [
      ['nodes[1].name', 'node web is listed twice; join its ports in one entry'],
      ['nodes[1].ports[1].port', 'port 81 of node web is listed twice'],
    ],
  );
});
