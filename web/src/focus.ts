// What views beside the linked charts may ask of them: a layer or a step in, calls
// to the charts out.

export interface Follower {
  layer: (name: string) => void;
  step: (step: number) => void;
}

export class Focus {
  private readonly followers = new Set<Follower>();

  /** Show this layer's series; a module stands for its first parameter. */
  layer(name: string): void {
    this.followers.forEach((one) => one.layer(name));
  }

  /** Show the steps around this one, and point at it. */
  step(step: number): void {
    this.followers.forEach((one) => one.step(step));
  }

  follow(follower: Follower): () => void {
    this.followers.add(follower);
    return () => this.followers.delete(follower);
  }
}

/** The part of a run that is shown for one step: 6 % of it, at least 40 steps. */
export function around(step: number, whole: [number, number]): [number, number] {
  const wide = Math.min(Math.max(0.06 * (whole[1] - whole[0]), 40), whole[1] - whole[0]);
  const low = Math.min(Math.max(step - wide / 2, whole[0]), whole[1] - wide);
  return [low, low + wide];
}
