/* SentencePiece's tokenizer.model: a protocol buffer (sentencepiece_model.proto), of which few fields matter,
 * read by a cursor of our own over its wire format (protobuf.dev, "Encoding"). */
#include "base/le.h"
#include "format/tokenizer_int.h"

#include <string.h>

/* ---- wire format ---- */

struct cursor {
    const char *p;
    size_t n;
};

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value;      /* of numbers, as they stand */
    struct cursor bytes; /* of WIRE_BYTES */
};

static bool take(struct cursor *c, size_t n, struct cursor *out)
{
    if (n > c->n)
        return false;
    *out = (struct cursor){c->p, n};
    c->p += n;
    c->n -= n;
    return true;
}

static bool varint(struct cursor *c, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        struct cursor byte;
        if (!take(c, 1, &byte))
            return false;
        *out |= (uint64_t)((unsigned char)*byte.p & 0x7F) << shift;
        if (!((unsigned char)*byte.p & 0x80))
            return true;
    }
    return false;
}

static bool fixed(struct cursor *c, size_t n, uint64_t *out)
{
    struct cursor bytes;
    if (!take(c, n, &bytes))
        return false;
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t)(unsigned char)bytes.p[i] << 8 * i;
    return true;
}

/* The next field of a message that is not at its end. */
static int next_field(struct cursor *c, struct field *f, struct err *e)
{
    uint64_t key, n;
    bool fine = varint(c, &key) && key >> 3 > 0 && key >> 3 <= UINT32_MAX;
    if (fine) {
        f->number = (uint32_t)(key >> 3);
        f->wire = (enum wire)(key & 7);
        switch (f->wire) {
        case WIRE_VARINT:
            fine = varint(c, &f->value);
            break;
        case WIRE_64:
            fine = fixed(c, 8, &f->value);
            break;
        case WIRE_32:
            fine = fixed(c, 4, &f->value);
            break;
        case WIRE_BYTES:
            fine = varint(c, &n) && n <= SIZE_MAX && take(c, (size_t)n, &f->bytes);
            break;
        default:
            fine = false;
        }
    }
    return fine ? 0
                : err_set(e, ERR_FORMAT,
                          "not a SentencePiece model: broken or cut short, %zu bytes from the end", c->n);
}

static int want(const struct field *f, enum wire wire, const char *name, struct err *e)
{
    return f->wire == wire
               ? 0
               : err_set(e, ERR_FORMAT, "%s: wire type %d, want %d", name, (int)f->wire, (int)wire);
}

/* ---- the model ---- */

struct model {
    struct tokenizer_spec *s;
    size_t capacity;
    uint64_t type; /* trainer_spec.model_type */
    bool suffix;
    struct cursor bos, eos, pad; /* pieces */
    struct spec_normalizer z;
};

enum { TYPE_UNIGRAM = 1, TYPE_BPE = 2 };

static int read_piece(struct model *m, struct cursor c, struct err *e)
{
    struct spec_piece *p = &m->s->piece[m->s->pieces];
    struct spec_string text = {"", 0};
    struct field f;
    uint64_t kind = TOKEN_NORMAL;
    int rc = 0;
    while (c.n > 0 && !rc) {
        rc = next_field(&c, &f, e);
        if (!rc && f.number == 1) {
            rc = want(&f, WIRE_BYTES, "piece", e);
            if (!rc)
                rc = spec_copy(&m->s->arena, f.bytes.p, f.bytes.n, &text, e);
        } else if (!rc && f.number == 2) {
            rc = want(&f, WIRE_32, "score", e);
            p->score = (double)le_f32(&(uint32_t){(uint32_t)f.value});
        } else if (!rc && f.number == 3) {
            rc = want(&f, WIRE_VARINT, "type", e);
            kind = f.value;
        }
    }
    if (!rc && (kind < TOKEN_NORMAL || kind > TOKEN_BYTE || text.len == 0))
        rc = err_set(e, ERR_FORMAT, "type %llu and %zu bytes: want 1 to 6, and a piece",
                     (unsigned long long)kind, text.len);
    if (rc)
        return err_prefix(e, "piece %zu: ", m->s->pieces);
    p->bytes = text.bytes;
    p->len = (uint32_t)text.len;
    p->kind = (enum token_kind)kind;
    m->s->pieces++;
    return 0;
}

static void read_trainer_number(struct model *m, const struct field *f)
{
    if (f->number == 3)
        m->type = f->value;
    else if (f->number == 24)
        m->suffix = f->value != 0;
    else if (f->number == 35)
        m->s->byte_fallback = f->value != 0;
}

static int read_trainer(struct model *m, struct cursor c, struct err *e)
{
    struct cursor *const names[] = {&m->bos, &m->eos, &m->pad}; /* fields 46, 47, 48 */
    struct field f;
    int rc = 0;
    while (c.n > 0 && !rc) {
        rc = next_field(&c, &f, e);
        if (!rc && f.wire == WIRE_VARINT)
            read_trainer_number(m, &f);
        else if (!rc && f.wire == WIRE_BYTES && f.number >= 46 && f.number <= 48)
            *names[f.number - 46] = f.bytes;
    }
    return rc ? err_prefix(e, "trainer_spec: ") : 0;
}

static int read_normalizer(struct model *m, struct cursor c, struct err *e)
{
    struct field f;
    int rc = 0;
    while (c.n > 0 && !rc) {
        rc = next_field(&c, &f, e);
        if (rc)
            break;
        bool number = f.wire == WIRE_VARINT;
        if (f.number == 2 && f.wire == WIRE_BYTES)
            rc = spec_copy(&m->s->arena, f.bytes.p, f.bytes.n, &m->z.charsmap, e);
        else if (f.number == 3 && number)
            m->z.dummy_prefix = f.value != 0;
        else if (f.number == 4 && number)
            m->z.remove_extra_whitespaces = f.value != 0;
        else if (f.number == 5 && number)
            m->z.escape_whitespaces = f.value != 0;
    }
    return rc ? err_prefix(e, "normalizer_spec: ") : 0;
}

static int count_pieces(struct cursor c, size_t *n, struct err *e)
{
    struct field f;
    int rc = 0;
    *n = 0;
    while (c.n > 0 && !rc) {
        rc = next_field(&c, &f, e);
        *n += !rc && f.number == 1;
    }
    return rc;
}

static int read_fields(struct model *m, struct cursor c, struct err *e)
{
    struct field f;
    int rc = 0;
    while (c.n > 0 && !rc) {
        rc = next_field(&c, &f, e);
        if (rc || f.number > 3)
            continue;
        rc = want(&f, WIRE_BYTES, "pieces, trainer_spec or normalizer_spec", e);
        if (!rc && f.number == 1)
            rc = read_piece(m, f.bytes, e);
        else if (!rc && f.number == 2)
            rc = read_trainer(m, f.bytes, e);
        else if (!rc)
            rc = read_normalizer(m, f.bytes, e);
    }
    return rc;
}

static int32_t control_piece(const struct tokenizer_spec *s, const struct cursor *name, const char *otherwise)
{
    const char *bytes = name->p ? name->p : otherwise;
    size_t n = name->p ? name->n : strlen(otherwise);
    for (size_t i = 0; i < s->pieces; i++)
        if (s->piece[i].kind == TOKEN_CONTROL && s->piece[i].len == n &&
            memcmp(s->piece[i].bytes, bytes, n) == 0)
            return (int32_t)i;
    return -1;
}

int spec_sentencepiece(struct tokenizer_spec *s, const struct spec_normalizer *z, struct err *e)
{
    s->decoder = DECODER_METASPACE;
    s->fuse_unk = true;
    s->single_precision = true;
    s->strip_prefix = z->dummy_prefix || z->remove_extra_whitespaces;
    s->normalizer = arena_alloc(&s->arena, 1, sizeof *s->normalizer);
    s->added = arena_alloc(&s->arena, s->pieces + 1, sizeof *s->added);
    if (!s->normalizer || !s->added)
        return err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    *s->normalizer = *z;
    s->normalizers = 1;
    for (size_t i = 0; i < s->pieces; i++) {
        if (s->piece[i].kind == TOKEN_UNKNOWN)
            s->unk = (int32_t)i;
        bool user = s->piece[i].kind == TOKEN_USER && !s->inline_user;
        if (s->piece[i].len > 0 &&
            (s->piece[i].kind == TOKEN_CONTROL || s->piece[i].kind == TOKEN_UNKNOWN || user))
            s->added[s->added_count++] = (struct spec_added){.id = (int32_t)i, .special = !user};
    }
    return 0;
}

int spec_from_model(struct tokenizer_spec *s, const char *bytes, size_t n, struct err *e)
{
    struct model m = {.s = s, .type = TYPE_UNIGRAM};
    m.z = (struct spec_normalizer){.kind = NORMALIZER_SENTENCEPIECE,
                                   .dummy_prefix = true,
                                   .remove_extra_whitespaces = true,
                                   .escape_whitespaces = true,
                                   .keep_user = true};
    struct cursor all = {bytes, n};
    int rc = count_pieces(all, &m.capacity, e);
    if (rc)
        return rc;
    s->piece = arena_alloc(&s->arena, m.capacity + 1, sizeof *s->piece);
    if (!s->piece)
        return err_set(e, ERR_MEMORY, "out of memory for %zu pieces", m.capacity);
    rc = read_fields(&m, all, e);
    if (!rc && m.type != TYPE_UNIGRAM && m.type != TYPE_BPE)
        rc = err_set(e, ERR_FORMAT, "trainer_spec: model_type %llu: want 1 (unigram) or 2 (BPE)",
                     (unsigned long long)m.type);
    if (rc)
        return rc;
    m.z.whitespace_suffix = m.suffix;
    s->model = m.type == TYPE_BPE ? MODEL_SCORED_BPE : MODEL_UNIGRAM;
    s->name = m.type == TYPE_BPE ? "SentencePiece BPE" : "SentencePiece Unigram";
    s->inline_user = true;
    s->add_bos = m.type == TYPE_BPE; /* what Llama and T5 models expect, unless a side file says otherwise */
    s->add_eos = !s->add_bos;
    s->bos = control_piece(s, &m.bos, "<s>");
    s->eos = control_piece(s, &m.eos, "</s>");
    s->pad = control_piece(s, &m.pad, "<pad>");
    return spec_sentencepiece(s, &m.z, e);
}

int tokenizer_parse_model(struct tokenizer **out, const char *name, const char *bytes, size_t n,
                          struct err *e)
{
    struct tokenizer_spec s;
    spec_init(&s);
    int rc = spec_from_model(&s, bytes, n, e);
    if (!rc)
        rc = tokenizer_new(out, &s, e);
    spec_deinit(&s);
    return rc ? err_prefix(e, "%s: ", name) : 0;
}
