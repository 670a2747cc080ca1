/* init_image.c - the page that `hone init` writes for pictures: a small residual net that fits the data.
 *
 * Size, depth, width, epochs and batch follow from the number of pictures and their sizes by the rules of `choose`; each
 * is commented with its reason. The net is models/cnn.yaml's, written out so that the page stands alone, with as many
 * halvings as bring the picture down to about seven pixels. */
#include <ctype.h>
#include <limits.h>
#include <string.h>

#include "cli/init.h"
#include "data/dataset.h"

/* What a page needs to know. */
typedef struct choice {
    int height, width, channels;
    bool same;    /* all pictures have one size                                                  */
    bool packed;  /* nothing may be scaled: it was                                                */
    bool shorter; /* scale the shorter side and cut, where shapes differ                              */
    int stem, downs, widths[6], pad;
    int epochs, batch;
    double lr, dropout;
    const char *why; /* of the number of pictures                                                   */
} choice;

enum { SIDE_MAX = 128, SIDE_LEAST = 8, SIDE_AT_END = 8 };

/* The largest of these that is at most `side`: sizes that halve well. */
static int round_side(int64_t side)
{
    static const int list[] = {128, 96, 64, 48, 32, 24, 16};
    for (size_t k = 0; k < sizeof list / sizeof *list; k++)
        if (side >= list[k]) return list[k];
    return side < SIDE_LEAST ? SIDE_LEAST : (int)side;
}

/* Pictures of one size keep it, or their shape where they are large; mixed ones become squares of what the median has. */
static void choose_size(const hone_data_report *r, choice *c)
{
    int64_t h = r->height.p50, w = r->width.p50, longest = h > w ? h : w;
    c->same = r->height.min == r->height.max && r->width.min == r->width.max;
    /* few pictures of many pixels are learnt by heart; and the cost goes with the square */
    int64_t most = r->rows[0] < 2000 ? 64 : SIDE_MAX;
    if (c->packed) most = INT_MAX;
    if (c->same) {
        double scale = longest > most ? (double)most / (double)longest : 1;
        c->height = (int)((double)h * scale + 0.5);
        c->width = (int)((double)w * scale + 0.5);
    } else {
        int64_t side = h < w ? h : w;
        c->height = c->width = round_side(side < most ? side : most);
        c->shorter = h <= 2 * w && w <= 2 * h; /* of a long strip the middle alone is too little */
    }
    /* below this no halving is left, and a net of one stage has nothing to see */
    if (c->height < SIDE_LEAST) c->height = SIDE_LEAST;
    if (c->width < SIDE_LEAST) c->width = SIDE_LEAST;
    c->channels = r->colour ? 3 : 1;
}

/* Few pictures want many passes, small batches and dropout; many want few passes. SGD's rate goes with the batch
 * (Goyal et al. 2017), 0.1 for 128. */
static choice choose(const hone_data_report *r, const hone_source *s)
{
    int64_t rows = r->rows[0];
    choice c = {.epochs = 5, .batch = 128, .lr = 0.1, .dropout = 0, .why = "many pictures: few passes"};
    if (rows < 200000) c = (choice){.epochs = 10, .batch = 128, .lr = 0.1, .dropout = 0.2, .why = "tens of thousands"};
    if (rows < 20000)
        c = (choice){.epochs = 20, .batch = 64, .lr = 0.05, .dropout = 0.2, .why = "thousands of pictures"};
    if (rows < 2000)
        c = (choice){.epochs = 40, .batch = 32, .lr = 0.03, .dropout = 0.3, .why = "few pictures: many passes"};
    if (rows < 300)
        c = (choice){.epochs = 80, .batch = 16, .lr = 0.02, .dropout = 0.3, .why = "very few pictures: many passes"};
    c.packed = s->packed;
    choose_size(r, &c);
    if (c.packed) c.shorter = s->resize == HONE_RESIZE_SHORTER;
    /* the shorter side is used up first */
    int side = c.height < c.width ? c.height : c.width;
    c.stem = side > 64 ? 2 : 1; /* large pictures are halved at once: full resolution costs most and tells least */
    /* each halving doubles what a pixel of the end has seen */
    for (side /= c.stem; side > SIDE_AT_END && c.downs < 4; side /= 2) c.downs++;
    /* models/cnn.yaml's, and one stage more on each side; two thirds for few pictures, in multiples of eight for the kernels */
    static const int width[] = {32, 48, 96, 128, 192};
    for (int k = 0; k <= c.downs; k++) c.widths[k] = rows < 2000 ? width[k] * 2 / 3 / 8 * 8 : width[k];
    /* a shift by an eighth, as CIFAR's usual 4 of 32; none where there is hardly room */
    side = c.height < c.width ? c.height : c.width;
    c.pad = side >= 16 ? (side < 32 ? 2 : side / 8) : 0;
    return c;
}

/* Digits, letters, left and right: a mirrored one is another sign. */
static bool may_flip(const hone_data_report *r)
{
    /* MNIST, SVHN and EMNIST; names of things have more letters */
    bool signs = true; /* all names are of one character or numbers */
    for (int k = 0; k < r->classes; k++) {
        const char *name = r->class_name[k];
        /* house numbers: several digits */
        bool number = *name != '\0';
        for (const char *p = name; *p; p++) number &= isdigit((unsigned char)*p) != 0;
        signs &= number || strlen(name) == 1;
        if (strstr(name, "left") || strstr(name, "right") || strstr(name, "Left") || strstr(name, "Right"))
            return false;
    }
    return !signs;
}

/* The net, written out. */
static void write_model(const choice *c, hone_text *t)
{
    hone_text_add(t, "model:                            # a small residual net; the table: hone plan PAGE\n"
                     "  blocks:\n"
                     "    convbn:\n"
                     "      with: {out: , stride: 1}\n"
                     "      layers:\n"
                     "        - conv: {out: $out, stride: $stride, bias: false, init: kaiming}\n"
                     "        - batchnorm\n"
                     "        - relu\n"
                     "    down:                         # half the resolution\n"
                     "      with: {out: }\n"
                     "      layers:\n"
                     "        - conv: {out: $out, bias: false, init: kaiming}\n"
                     "        - maxpool: 2\n"
                     "        - batchnorm\n"
                     "        - relu\n"
                     "  layers:\n");
    hone_text_add(t, "    - convbn: {name: stem, out: %d, stride: %d}\n", c->widths[0], c->stem);
    for (int k = 1; k <= c->downs; k++) {
        hone_text_add(t, "    - down: {out: %d}\n", c->widths[k]);
        /* the last two stages have a block each: there a pixel sees enough to be worth it */
        if (k + 1 >= c->downs)
            hone_text_add(t, "    - residual: {layers: [convbn: {out: %d}, convbn: {out: %d}]}\n", c->widths[k],
                          c->widths[k]);
    }
    hone_text_add(t, "    - global_avgpool\n");
    if (c->dropout > 0) hone_text_add(t, "    - dropout: %g\n", c->dropout);
    hone_text_add(t, "    - linear: classes\n");
}

/* What every picture becomes, and how training pictures are changed. */
static void write_image(const hone_data_report *r, const choice *c, hone_text *t)
{
    /* a size that is the data's own needs no rule for resizing */
    bool scaled = !c->same || c->height != r->height.p50 || c->width != r->width.p50;
    hone_text_add(t, "image:\n");
    /* one number where one is enough: people read it */
    if (c->height == c->width) hone_text_add(t, "  size: %d", c->height);
    else hone_text_add(t, "  size: [%d, %d]", c->height, c->width);
    hone_text_add(t, scaled ? "                        # cost goes with the square; larger may tell more\n"
                            : "                        # as they are\n");
    hone_text_add(t, "  channels: %d                     # %s\n", c->channels,
                  c->channels == 1 ? "all are grey"
                  : r->grey        ? "some are grey: their value is repeated"
                                   : "all are in colour");
    if (scaled || c->packed)
        hone_text_add(t, "  resize: %s\n",
                      c->shorter ? "shorter                 # then the centre is cut: shapes differ" : "stretch");
    hone_text_add(t, "  mean: auto                      # measured on the training split, kept in the model\n"
                     "  std: auto\n");
    /* a line for 0 as well: it says that the question was asked */
    bool flip = may_flip(r);
    hone_text_add(t, "augment:                          # training only\n");
    hone_text_add(
        t, flip ? "  flip: 0.5                       # 0 if left and right mean something\n"
                : "  flip: 0                         # these classes look like signs: a mirrored one is another\n");
    if (c->pad) hone_text_add(t, "  crop: {pad: %d}                  # random shifts\n", c->pad);
}

/* Where one class outweighs another, the loss may count each class alike. */
static void write_loss(const hone_data_report *r, hone_text *t)
{
    /* weights of n / (classes * n_c): at 100 : 1 a picture weighs as much as a hundred, and so does its label's mistake */
    double uneven = hone_cli_init_imbalance(r);
    if (uneven >= 4 && uneven < 100)
        hone_text_add(
            t,
            "  loss: {label_smoothing: 0.1, class_weights: balanced} # classes are uneven, %.0f : 1; watch f1_macro\n",
            uneven);
    else if (uneven >= 100)
        hone_text_add(t,
                      "  loss: {label_smoothing: 0.1}    # %.0f : 1: balanced weights would let single pictures rule; "
                      "watch f1_macro\n",
                      uneven);
    else hone_text_add(t, "  loss: {label_smoothing: 0.1}\n");
}

/* "28 x 28" or "120..640 x 80..480", width first as people say it. */
static void say_size(const hone_data_report *r, hone_text *t)
{
    if (r->width.min == r->width.max && r->height.min == r->height.max)
        hone_text_add(t, "%lld x %lld", (long long)r->width.max, (long long)r->height.max);
    else
        hone_text_add(t, "%lld..%lld x %lld..%lld, %lld x %lld in the median,", (long long)r->width.min,
                      (long long)r->width.max, (long long)r->height.min, (long long)r->height.max,
                      (long long)r->width.p50, (long long)r->height.p50);
}

/* In the order of the keys' table, so that `hone config explain` reads alike. */
void hone_cli_init_image(const hone_cli_data *d, const char *path, const hone_data_report *r, hone_text *t,
                         hone_text *saw)
{
    choice c = choose(r, d->data->train->source);
    /* as they are in train, empty classes included */
    int64_t most = 0, least = r->rows[0];
    for (int k = 0; k < r->classes; k++) {
        int64_t n = r->class_rows[(size_t)k * 3];
        if (n > most) most = n;
        if (n < least) least = n;
    }
    hone_text_add(saw, "%lld training pictures, ", (long long)r->rows[0]);
    say_size(r, saw);
    hone_text_add(saw, " %s; %d classes of %lld to %lld; %lld val, %lld test; %lld broken",
                  c.channels == 1 ? "grey" : "colour", r->classes, (long long)least, (long long)most,
                  (long long)r->rows[1], (long long)r->rows[2], (long long)r->broken);
    hone_text_add(t, "# %s\n", saw->data ? saw->data : "");
    hone_text_add(t, "task: image\n");
    hone_cli_init_out(path, "cnn", t);
    hone_cli_init_data(d, path, t);
    if (r->broken)
        hone_text_add(t, "  on_error: skip                  # %lld can't be decoded: hone data check names them\n",
                      (long long)r->broken);
    write_image(r, &c, t);
    write_model(&c, t);
    hone_text_add(t, "train:\n  epochs: %d                      # %s\n  batch: %d\n", c.epochs, c.why, c.batch);
    hone_text_add(t, "  optimizer: {name: sgd, lr: %g, momentum: 0.9, nesterov: true, weight_decay: 5e-4}\n", c.lr);
    hone_text_add(t, "  schedule: {name: cosine, warmup: 1, final: 0}\n");
    write_loss(r, t);
}
