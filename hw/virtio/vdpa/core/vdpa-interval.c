/*
 * vDPA: disjoint intervals of 64-bit addresses, in a balanced tree
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * An AVL tree ordered by first: the heights of a node's two subtrees
 * differ by one at most, whatever the order of insertion, which may be a
 * guest's choice.  100,000 intervals are at most 24 levels.
 *
 * Each node also knows, of itself and all below it, the lowest and highest
 * address and the longest hole between neighbours.  A subtree whose longest hole is
 * shorter than the request need not be entered.  With alignment of no more than
 * the intervals' own, the first hole entered fits: one descent.
 *
 * All bounds are inclusive, so that the last address of the 64-bit space is an
 * address as any other, and nothing is added to a bound before it is known
 * that something lies above it.
 *
 * Failures: none.  What may be inserted is the user's to check.
 *
 * Limits: recursion as deep as the tree is high, which 2^32 nodes limit to 47;
 * a hole for an alignment larger than that of the intervals may need a look at
 * several that are long enough and lie wrong.
 */
#include "vdpa-interval.h"

#include <stddef.h>

static int height(const VdpaInterval *node)
{
    return node ? node->height : 0;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Bytes between an interval that ends at @last and the next, from @first on. */
static uint64_t hole(uint64_t last, uint64_t first)
{
    return first - last - 1;
}

/* Works out what @node knows of its subtree from its kids. */
static void refresh(VdpaInterval *node)
{
    const VdpaInterval *left = node->kid[0];
    const VdpaInterval *right = node->kid[1];

    node->height = 1 + (height(left) > height(right) ? height(left)
                                                     : height(right));
    node->low = node->first;
    node->high = node->last;
    node->gap = 0;
    if (left) {
        node->low = left->low;
        node->gap = max_u64(left->gap, hole(left->high, node->first));
    }
    if (right) {
        node->high = right->high;
        node->gap = max_u64(node->gap, right->gap);
        node->gap = max_u64(node->gap, hole(node->last, right->low));
    }
}

/* Lifts the kid at @side over @node; returns it. */
static VdpaInterval *rotate(VdpaInterval *node, int side)
{
    VdpaInterval *kid = node->kid[side];

    node->kid[side] = kid->kid[!side];
    kid->kid[!side] = node;
    refresh(node);
    refresh(kid);
    return kid;
}

/* Balances @node, whose subtrees are balanced and differ by two at most. */
static VdpaInterval *balance(VdpaInterval *node)
{
    int lean = height(node->kid[1]) - height(node->kid[0]);

    if (lean >= -1 && lean <= 1) {
        refresh(node);
        return node;
    }
    int side = lean > 0;
    VdpaInterval *kid = node->kid[side];

    if (height(kid->kid[!side]) > height(kid->kid[side])) {
        node->kid[side] = rotate(kid, !side);
    }
    return rotate(node, side);
}

static VdpaInterval *insert_below(VdpaInterval *root, VdpaInterval *node)
{
    if (!root) {
        refresh(node);
        return node;
    }
    int side = node->first > root->first;

    root->kid[side] = insert_below(root->kid[side], node);
    return balance(root);
}

/* Takes the leftmost node out of @root, which is not empty. */
static VdpaInterval *detach_leftmost(VdpaInterval *root,
                                     VdpaInterval **leftmost)
{
    if (!root->kid[0]) {
        *leftmost = root;
        return root->kid[1];
    }
    root->kid[0] = detach_leftmost(root->kid[0], leftmost);
    return balance(root);
}

/* What takes the place of @node: its kids, joined. */
static VdpaInterval *join_kids(VdpaInterval *node)
{
    if (!node->kid[0] || !node->kid[1]) {
        return node->kid[0] ? node->kid[0] : node->kid[1];
    }
    VdpaInterval *heir;
    VdpaInterval *right = detach_leftmost(node->kid[1], &heir);

    heir->kid[0] = node->kid[0];
    heir->kid[1] = right;
    return balance(heir);
}

static VdpaInterval *remove_below(VdpaInterval *root, VdpaInterval *node)
{
    if (root == node) {
        return join_kids(node);
    }
    int side = node->first > root->first;

    root->kid[side] = remove_below(root->kid[side], node);
    return balance(root);
}

void vdpa_intervals_insert(VdpaIntervals *set, VdpaInterval *node)
{
    node->kid[0] = node->kid[1] = NULL;
    set->root = insert_below(set->root, node);
}

void vdpa_intervals_remove(VdpaIntervals *set, VdpaInterval *node)
{
    set->root = remove_below(set->root, node);
}

/* Puts @place into the hole [@low, @high], if it fits. */
static bool fit(const VdpaPlace *place, uint64_t low, uint64_t high,
                uint64_t *at)
{
    uint64_t mask = place->align - 1;

    low = max_u64(low, place->first);
    high = high < place->last ? high : place->last;
    if (low > high || high - low < place->size - 1) {
        return false;
    }
    if (place->top_down) {
        *at = (high - (place->size - 1)) & ~mask;
        return *at >= low;
    }
    *at = (low + mask) & ~mask;
    return *at >= low && *at <= high - (place->size - 1);
}

/* Whether any hole of [@low, @high] around @node's subtree is long enough. */
static bool worth_entering(const VdpaInterval *node, const VdpaPlace *place,
                           uint64_t low, uint64_t high)
{
    return node->gap >= place->size || node->low - low >= place->size ||
           high - node->high >= place->size;
}

/* [@low, @high] holds the intervals of @node's subtree and no others. */
static bool place_below(const VdpaInterval *node, const VdpaPlace *place,
                        uint64_t low, uint64_t high, uint64_t *at)
{
    if (high < place->first || low > place->last) {
        return false;
    }
    if (!node) {
        return fit(place, low, high, at);
    }
    if (!worth_entering(node, place, low, high)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        int side = place->top_down ? !i : i;

        if (side == 0 && node->first > low &&
            place_below(node->kid[0], place, low, node->first - 1, at)) {
            return true;
        }
        if (side == 1 && node->last < high &&
            place_below(node->kid[1], place, node->last + 1, high, at)) {
            return true;
        }
    }
    return false;
}

bool vdpa_intervals_place(const VdpaIntervals *set, const VdpaPlace *place,
                          uint64_t *at)
{
    return place_below(set->root, place, 0, UINT64_MAX, at);
}
