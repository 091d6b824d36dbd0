#include "judge/notes.h"

#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { JSON_LIMIT = 1 << 20 };

void notes_deinit(struct notes *n)
{
    free(n->file);
    json_decref(n->root);
    *n = (struct notes){0};
}

static int read_object(json_t **root, struct fields *f, const char *file, struct err *e)
{
    struct stat st;
    *root = NULL;
    *f = (struct fields){.file = file};
    if (stat(file, &st))
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(e, "%s", file);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_FORMAT, "%s: not a regular file", file);
    return fields_read(f, root, file, JSON_LIMIT, e);
}

int notes_read(struct notes *n, const char *path, struct err *e)
{
    struct stat st;
    bool directory = !stat(path, &st) && S_ISDIR(st.st_mode);
    if (asprintf(&n->file, directory ? "%s/gyeol.json" : "%s.gyeol.json", path) < 0) {
        n->file = NULL;
        return err_set(e, ERR_MEMORY, "out of memory");
    }
    return read_object(&n->root, &n->fields, n->file, e);
}

int notes_parse(struct notes *n, const char *name, const char *bytes, size_t len, struct err *e)
{
    *n = (struct notes){0};
    return fields_parse(&n->fields, &n->root, name, bytes, len, e);
}

static bool merge(json_t *root, const json_t *changes)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)changes, key, value)
    {
        if (json_is_null(value))
            json_object_del(root, key);
        else if (json_object_set(root, key, value))
            return false;
    }
    return true;
}

int notes_update(const char *file, const json_t *changes, struct err *e)
{
    struct fields ignored;
    json_t *root;
    char *text = NULL;
    int rc = read_object(&root, &ignored, file, e);
    if (rc)
        return rc;
    if (!root)
        root = json_object();
    if (root && merge(root, changes))
        text = json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    rc = text ? file_write(file, text, strlen(text), e) : err_set(e, ERR_MEMORY, "out of memory");
    free(text);
    json_decref(root);
    return rc;
}
