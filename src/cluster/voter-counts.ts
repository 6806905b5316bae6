/** How many nodes may vote: an even number bears no more failures than the odd one below it. */
export const voterCounts = [1, 3, 5, 7] as const;
