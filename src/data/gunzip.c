/* gunzip.c - see gunzip.h. */
#include "data/gunzip.h"

#include <stdlib.h>

#include "data/files.h"

bool hone_gunzip_looks(const unsigned char *magic, size_t bytes)
{
    return bytes >= 2 && magic[0] == 0x1F && magic[1] == 0x8B;
}

hone_status hone_gunzip_open(const char *path, int fd, size_t chunk, hone_gunzip *out)
{
    *out = (hone_gunzip){.path = path, .fd = fd, .chunk = chunk, .in = malloc(chunk)};
    /* 16 + 15: a gzip header and the largest window; zeroed: the library's own allocator */
    if (out->in && inflateInit2(&out->z, 16 + MAX_WBITS) == Z_OK) return HONE_OK;
    free(out->in);
    return hone_no_memory("zlib", chunk);
}

/* The next stretch of packed bytes; none at the end of the file. */
static hone_status refill(hone_gunzip *g)
{
    size_t got = 0;
    HONE_TRY(hone_file_read_some(g->path, g->fd, g->in, g->chunk, &got));
    g->z.next_in = g->in;
    g->z.avail_in = (uInt)got;
    return HONE_OK;
}

/* Behind a member: another one, zeros (tapes pad with them), or the end. */
static hone_status next_member(hone_gunzip *g)
{
    do {
        for (; g->z.avail_in && *g->z.next_in == 0; g->z.avail_in--) g->z.next_in++;
        /* the magic itself is checked by the decoder, which then says what is wrong */
        if (g->z.avail_in && inflateReset(&g->z) == Z_OK) return HONE_OK;
        HONE_TRY(refill(g)); /* what follows a member may begin in the next stretch */
    } while (g->z.avail_in);
    g->ended = true;
    return HONE_OK;
}

/* One turn of the decoder; *got may be 0 on the way. */
static hone_status inflate_some(hone_gunzip *g, void *data, size_t want, size_t *got)
{
    if (g->z.avail_in == 0) HONE_TRY(refill(g));
    bool end = g->z.avail_in == 0;
    g->z.next_out = data;
    g->z.avail_out = (uInt)want;
    int code = inflate(&g->z, Z_NO_FLUSH);
    *got = want - g->z.avail_out;
    if (code == Z_STREAM_END) return next_member(g);
    if (code == Z_OK) return HONE_OK;
    /* with all that the file has, Z_BUF_ERROR says that more was to come */
    const char *what = end && code == Z_BUF_ERROR ? "the gzip file is cut off"
                       : g->z.msg                 ? g->z.msg
                                                  : "broken gzip data";
    return hone_fail(HONE_ERR_DATA, "bring the file anew", "%s: %s", hone_shown(g->path), what);
}

hone_status hone_gunzip_read(hone_gunzip *g, void *data, size_t want, size_t *have)
{
    for (*have = 0; *have < want && !g->ended;) {
        /* zlib counts in 32 bits */
        size_t piece = want - *have < 1u << 30 ? want - *have : 1u << 30, got = 0;
        HONE_TRY(inflate_some(g, (char *)data + *have, piece, &got));
        *have += got;
    }
    return HONE_OK;
}

void hone_gunzip_close(hone_gunzip *g)
{
    inflateEnd(&g->z);
    free(g->in);
}
