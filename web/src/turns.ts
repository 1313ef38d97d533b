// When charts are drawn: jobs in, one of them a frame out, so that no frame is late.
//
// New readings may wait a few frames for their turn; what a person does may not.

export class Turns {
  /** Whether jobs may wait: set while new readings are drawn. */
  calm = false;
  private readonly waiting = new Map<object, () => void>();
  private frame = 0;

  /** Draws now or in turn; a newer job of the same owner takes the older one's place. */
  take(owner: object, job: () => void): void {
    this.waiting.delete(owner);
    if (!this.calm) {
      job();
      return;
    }
    this.waiting.set(owner, job);
    this.next();
  }

  /** Forgets what an owner that is gone still had to draw. */
  drop(owner: object): void {
    this.waiting.delete(owner);
  }

  private next(): void {
    if (this.frame || !this.waiting.size) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const [first] = this.waiting;
      if (!first) return;
      this.waiting.delete(first[0]);
      first[1]();
      this.next();
    });
  }
}
