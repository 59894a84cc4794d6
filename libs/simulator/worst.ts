import { createAgent } from '/work/main/libs/discovery/src/strategies.ts';
import { simulate } from '/work/main/libs/simulator/src/index.ts';
const start = Date.now();
for (let seed = Number(process.argv[2]); seed < Number(process.argv[3]) && Date.now() - start < 300000; seed += 1) {
  const r = simulate({ seed, keepTrace: false, overrides: { cores: { leaf: (c: any, h: any) => createAgent('stamped', c, h.random, h.now) } } } as any);
  if ((r.convergedMs ?? 0) > 12000 || r.violation) console.log(seed, r.convergedMs, r.balancer, r.steering, r.faults.map((f: any) => f.kind).join(), JSON.stringify(r.violation ?? ''));
}
