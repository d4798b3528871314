#include "engine/budget.h"

uint32_t budget_spare_pieces(const struct engine *engine)
{
    uint32_t available = pool_free_count(&engine->pieces);
    return available > engine->reserved_pieces ? available - engine->reserved_pieces : 0;
}

/* Whether there are blocks for a packet; *bounded: there are none because the network has its share. */
static bool has_blocks(struct engine *engine, bool *bounded)
{
    bool one_size = !engine->blocks.smaller;
    *bounded = !room_allows(engine, ROOM_BLOCKS, ROOM_BLOCKS_A_PACKET) ||
               (!one_size && (!room_allows(engine, ROOM_MIDDLE_BLOCKS, ROOM_BLOCKS_A_PACKET) ||
                              !room_allows(engine, ROOM_SMALL_BLOCKS, ROOM_BLOCKS_A_PACKET)));
    return !*bounded && pool_free_count(&engine->blocks) >= ROOM_BLOCKS_A_PACKET &&
           (one_size || (pool_free_count(&engine->middle_blocks) >= ROOM_BLOCKS_A_PACKET &&
                         pool_free_count(&engine->small_blocks) >= ROOM_BLOCKS_A_PACKET));
}

bool budget_has_room(struct engine *engine, const struct half *half, uint32_t len, bool *bounded)
{
    /* What leaves may be longer than what came by a reply's worth; and what will wait takes a reserve. */
    uint32_t retained = retain_blocks_needed(&half->retained, len + half_waiting(half) + SMTP_LINE_BYTES_MAX);
    bool blocks = has_blocks(engine, bounded);
    *bounded = *bounded || !room_allows(engine, ROOM_PIECES, retained + ROOM_PIECES_A_LINE);
    return blocks && !*bounded && retained + ROOM_PIECES_A_LINE <= budget_spare_pieces(engine) &&
           retain_blocks(&half->retained) + retained <= engine->settings.flow_blocks_max * ROOM_PIECES_A_BLOCK;
}

uint32_t budget_window_max(struct engine *engine)
{
    enum { SCARCE_BYTES = 8192, SCARCE_PART = 4 };
    uint32_t blocks = engine->settings.flow_blocks_max > 8 ? engine->settings.flow_blocks_max - 8 : 1;
    uint32_t flow_bytes = blocks * ROOM_PIECES_A_BLOCK * (uint32_t)RETAIN_BLOCK_PAYLOAD;
    bool near = room_in_use(engine, ROOM_PIECES) > engine->room.calm[ROOM_PIECES];
    bool scarce = budget_spare_pieces(engine) < engine->pieces.count / SCARCE_PART ||
                  (near && !room_allows(engine, ROOM_PIECES, engine->room.share.bounds[ROOM_PIECES] / SCARCE_PART));
    return scarce && flow_bytes > SCARCE_BYTES ? SCARCE_BYTES : flow_bytes;
}

static_assert(ROOM_PIECES_A_LINE <= 7, "a flow has three bits for them");

void budget_reserve(struct engine *engine, struct flow *flow, enum smtp_side side, uint32_t waiting)
{
    /* Towards a live server nothing grows (law 3). */
    bool grows = side == SMTP_SERVER || engine->settings.peers == ENGINE_PEERS_RECORDED;
    uint32_t needs = waiting == 0 ? 0 : grows ? ROOM_PIECES_A_LINE : waiting / RETAIN_BLOCK_PAYLOAD + 2;
    uint32_t had = side == SMTP_CLIENT ? flow->client_pieces : flow->server_pieces;
    engine->reserved_pieces = engine->reserved_pieces - had + needs;
    if (side == SMTP_CLIENT)
        flow->client_pieces = needs & 7u;
    else
        flow->server_pieces = needs & 7u;
}
