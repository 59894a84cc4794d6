import type { KeyedRandom } from './random.ts';

/** What happens to discovery requests on their way, as the article describes them: unreliable and reordered. */
export class GossipFaults {
  dropChance = 0;
  duplicateChance = 0;
  /** Each message is held back by up to this much, so that a later one may overtake it. */
  maxDelayMs = 0;

  /** The delays after which copies of one message arrive; none when it is lost. */
  deliveries(random: KeyedRandom): readonly number[] {
    const copies = random.chance('gossip-drop', this.dropChance)
      ? 0
      : random.chance('gossip-duplicate', this.duplicateChance)
        ? 2
        : 1;
    return Array.from({ length: copies }, () =>
      this.maxDelayMs === 0 ? 0 : random.between('gossip-delay', 0, this.maxDelayMs),
    );
  }

  quiet(): void {
    this.dropChance = 0;
    this.duplicateChance = 0;
    this.maxDelayMs = 0;
  }
}
