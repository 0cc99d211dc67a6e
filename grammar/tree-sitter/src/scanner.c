// What a table of states tells badly: text blocks with their hashes, keys, and what was never closed.
//
// A text block begins with any number of `#` and `"""`, and ends with `"""` and as many. `{{` and `{%` open a hole in it
// after the same hashes. So the scanner keeps a stack: for each open text block its hashes, and whether a hole is open.

#include "tree_sitter/alloc.h"
#include "tree_sitter/parser.h"
#include "words.h"

#include <string.h>

// In the order of `externals` in grammar.js.
enum Token {
    KEY,
    UNCLOSED,
    TEMPLATE_START,
    TEMPLATE_TEXT,
    HOLE_START,
    HOLE_END,
    DIRECTIVE_START,
    DIRECTIVE_END,
    TEMPLATE_END,
    IN_EXPERIMENT,
    IN_STRING,
    LOST,
};

enum Mode { TEXT, HOLE };

// Whether a block's own lines stand further in than an item: then an item in it was swallowed.
enum Indent { UNKNOWN, INDENTED, FLUSH };

enum { MOST_OPEN = 16, MOST_HASHES = 255, LONGEST_WORD = 16 };

typedef struct {
    uint8_t hashes;
    uint8_t mode;
    uint8_t indent;
} Block;

typedef struct {
    uint8_t depth;
    Block open[MOST_OPEN];
} Scanner;

static bool starts_name(int32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool is_digit(int32_t c) { return c >= '0' && c <= '9'; }

static bool in_name(int32_t c) { return starts_name(c) || is_digit(c); }

static bool is_blank(int32_t c) { return c == ' ' || c == '\t'; }

static void advance(TSLexer *lexer) { lexer->advance(lexer, false); }

static uint32_t run_of(TSLexer *lexer, int32_t c, uint32_t most) {
    uint32_t count = 0;
    while (count < most && lexer->lookahead == c) {
        advance(lexer);
        count++;
    }
    return count;
}

// Reads a name; a longer one is cut, and so equals no word.
static void read_name(TSLexer *lexer, char name[LONGEST_WORD]) {
    uint32_t length = 0;
    while (in_name(lexer->lookahead)) {
        if (length < LONGEST_WORD - 1) name[length++] = (char)lexer->lookahead;
        advance(lexer);
    }
    name[length] = '\0';
}

static bool is_item_word(const char *name) {
    for (size_t i = 0; i < sizeof ITEM_WORDS / sizeof *ITEM_WORDS; i++) {
        if (strcmp(name, ITEM_WORDS[i]) == 0) return true;
    }
    return false;
}

// After the word and the space behind it: whether this is the head of an item. A `let` may be a statement.
static bool opens_item(TSLexer *lexer, const char *word) {
    if (!is_item_word(word) || strcmp(word, "let") == 0) return false;
    if (strcmp(word, "import") == 0) return lexer->lookahead == '"';
    if (strcmp(word, "agx") == 0) return is_digit(lexer->lookahead);
    return starts_name(lexer->lookahead);
}

// At the first column: whether an item begins here. Reads on, so the caller has marked the end.
static bool item_ahead(TSLexer *lexer) {
    char word[LONGEST_WORD];
    if (!starts_name(lexer->lookahead)) return false;
    read_name(lexer, word);
    if (!is_blank(lexer->lookahead)) return false;
    while (is_blank(lexer->lookahead)) advance(lexer);
    return opens_item(lexer, word);
}

static bool give(TSLexer *lexer, enum Token token) {
    lexer->result_symbol = token;
    return true;
}

static bool push(Scanner *scanner, uint32_t hashes) {
    if (scanner->depth == MOST_OPEN) return false;
    scanner->open[scanner->depth++] = (Block){(uint8_t)hashes, TEXT, UNKNOWN};
    return true;
}

// Text up to the next hole, the closing quotes, or a swallowed item. What is special is given when nothing stands before it.
static bool scan_text(Scanner *scanner, TSLexer *lexer) {
    Block *block = &scanner->open[scanner->depth - 1];
    bool any = false;
    if (block->indent == INDENTED && lexer->get_column(lexer) == 0 && starts_name(lexer->lookahead)) {
        lexer->mark_end(lexer);
        if (item_ahead(lexer)) {
            scanner->depth--;
            return give(lexer, UNCLOSED);
        }
        any = true;
    }
    for (;;) {
        lexer->mark_end(lexer);
        if (lexer->eof(lexer)) {
            if (any) return give(lexer, TEMPLATE_TEXT);
            scanner->depth--;
            return give(lexer, UNCLOSED);
        }
        uint32_t hashes = 0;
        if (lexer->lookahead == '"') {
            advance(lexer);
            if (!any) lexer->mark_end(lexer);
            uint32_t quotes = 1 + run_of(lexer, '"', block->hashes == 0 ? 2 : UINT32_MAX);
            bool closes = quotes >= 3 && run_of(lexer, '#', block->hashes) == block->hashes;
            if (closes && any) return give(lexer, TEMPLATE_TEXT);
            if (closes && quotes == 3) {
                lexer->mark_end(lexer);
                scanner->depth--;
                return give(lexer, TEMPLATE_END);
            }
            // `""""#`: the first quote is text.
            if (closes) return give(lexer, TEMPLATE_TEXT);
            any = true;
            continue;
        }
        if (lexer->lookahead == '#' && block->hashes > 0) {
            advance(lexer);
            if (!any) lexer->mark_end(lexer);
            hashes = 1 + run_of(lexer, '#', UINT32_MAX - 1);
            if (hashes < block->hashes || lexer->lookahead != '{') {
                any = true;
                continue;
            }
        }
        if (lexer->lookahead == '{' && (block->hashes == 0 || hashes >= block->hashes)) {
            advance(lexer);
            if (!any && hashes == 0) lexer->mark_end(lexer);
            int32_t second = lexer->lookahead;
            if (second == '{' || second == '%') {
                // With more hashes than the block has, the first ones are text.
                if (any || hashes > block->hashes) return give(lexer, TEMPLATE_TEXT);
                advance(lexer);
                lexer->mark_end(lexer);
                block->mode = HOLE;
                return give(lexer, second == '{' ? HOLE_START : DIRECTIVE_START);
            }
            any = true;
            continue;
        }
        bool ends_line = lexer->lookahead == '\n';
        advance(lexer);
        any = true;
        if (ends_line) {
            if (block->indent == UNKNOWN) block->indent = is_blank(lexer->lookahead) ? INDENTED : FLUSH;
            if (block->indent == INDENTED && starts_name(lexer->lookahead)) {
                lexer->mark_end(lexer);
                if (item_ahead(lexer)) return give(lexer, TEMPLATE_TEXT);
            }
        }
    }
}

static bool scan_hole_end(Scanner *scanner, TSLexer *lexer) {
    bool directive = lexer->lookahead == '%';
    advance(lexer);
    if (lexer->lookahead != '}') return false;
    advance(lexer);
    lexer->mark_end(lexer);
    scanner->open[scanner->depth - 1].mode = TEXT;
    return give(lexer, directive ? DIRECTIVE_END : HOLE_END);
}

// The end of a text block whose last hole was never closed.
static bool scan_template_end(Scanner *scanner, TSLexer *lexer) {
    uint32_t hashes = scanner->open[scanner->depth - 1].hashes;
    if (run_of(lexer, '"', 3) < 3 || run_of(lexer, '#', hashes) < hashes) return false;
    lexer->mark_end(lexer);
    scanner->depth--;
    return give(lexer, TEMPLATE_END);
}

static bool scan_template_start(Scanner *scanner, TSLexer *lexer) {
    uint32_t hashes = run_of(lexer, '#', MOST_HASHES);
    if (run_of(lexer, '"', 3) < 3 || !push(scanner, hashes)) return false;
    lexer->mark_end(lexer);
    return give(lexer, TEMPLATE_START);
}

// A key before `=`, `:` or `{`, or an item where a block is still open.
static bool scan_name(TSLexer *lexer, const bool *valid, bool new_line) {
    bool lost = valid[LOST];
    bool first_column = lexer->get_column(lexer) == 0;
    char word[LONGEST_WORD];
    lexer->mark_end(lexer);
    read_name(lexer, word);
    if (first_column && valid[UNCLOSED] && !lost && is_blank(lexer->lookahead) && is_item_word(word)) {
        while (is_blank(lexer->lookahead)) advance(lexer);
        if (opens_item(lexer, word)) return give(lexer, UNCLOSED);
    }
    // Where the parser has lost its way, only a line's first name can be trusted to be a key.
    if (!valid[KEY] || (lost && !new_line)) return false;
    bool dotted = false;
    while (lexer->lookahead == '.') {
        advance(lexer);
        if (!starts_name(lexer->lookahead)) return false;
        dotted = true;
        char part[LONGEST_WORD];
        read_name(lexer, part);
    }
    lexer->mark_end(lexer);
    while (is_blank(lexer->lookahead)) advance(lexer);
    switch (lexer->lookahead) {
    case ':':
        return give(lexer, KEY);
    case '{':
        if (lost || (valid[IN_EXPERIMENT] && !dotted && (strcmp(word, "schedule") == 0 || strcmp(word, "report") == 0))) {
            return false;
        }
        return give(lexer, KEY);
    case '=':
        advance(lexer);
        if (lexer->lookahead == '=' || lexer->lookahead == '>') return false;
        return give(lexer, KEY);
    default:
        return false;
    }
}

static bool scan(Scanner *scanner, TSLexer *lexer, const bool *valid) {
    if (scanner->depth > 0 && scanner->open[scanner->depth - 1].mode == TEXT) return scan_text(scanner, lexer);

    if (valid[IN_STRING] && !valid[LOST]) {
        bool ends = lexer->lookahead == '\n' || lexer->lookahead == '\r' || lexer->eof(lexer);
        return ends && give(lexer, UNCLOSED);
    }
    bool new_line = lexer->get_column(lexer) == 0;
    while (is_blank(lexer->lookahead) || lexer->lookahead == '\n' || lexer->lookahead == '\r') {
        if (lexer->lookahead == '\n') new_line = true;
        lexer->advance(lexer, true);
    }
    if (lexer->eof(lexer)) {
        if (!valid[UNCLOSED] || valid[LOST]) return false;
        lexer->mark_end(lexer);
        if (scanner->depth > 0) scanner->depth--;
        return give(lexer, UNCLOSED);
    }
    if (scanner->depth > 0) {
        if (lexer->lookahead == '}' || lexer->lookahead == '%') return scan_hole_end(scanner, lexer);
        bool no_string = valid[LOST] || !valid[TEMPLATE_START];
        if (lexer->lookahead == '"' && no_string) return scan_template_end(scanner, lexer);
    }
    if (valid[TEMPLATE_START] && (lexer->lookahead == '"' || lexer->lookahead == '#')) {
        return scan_template_start(scanner, lexer);
    }
    if ((valid[KEY] || valid[UNCLOSED]) && starts_name(lexer->lookahead)) return scan_name(lexer, valid, new_line);
    return false;
}

void *tree_sitter_agx_external_scanner_create(void) { return ts_calloc(1, sizeof(Scanner)); }

void tree_sitter_agx_external_scanner_destroy(void *payload) { ts_free(payload); }

unsigned tree_sitter_agx_external_scanner_serialize(void *payload, char *buffer) {
    const Scanner *scanner = payload;
    unsigned size = scanner->depth * sizeof(Block);
    memcpy(buffer, scanner->open, size);
    return size;
}

void tree_sitter_agx_external_scanner_deserialize(void *payload, const char *buffer, unsigned length) {
    Scanner *scanner = payload;
    scanner->depth = (uint8_t)(length / sizeof(Block));
    if (length > 0) memcpy(scanner->open, buffer, length);
}

bool tree_sitter_agx_external_scanner_scan(void *payload, TSLexer *lexer, const bool *valid) {
    return scan(payload, lexer, valid);
}
