"""The web pages: the operator's half, for people. They read `nsdata.manager.views` and ask by the
same functions as `/api/v1` does, so that a page and a program see and may do the same.

    visit        one request: who asks, its form
    guard        who may see a page, CSRF, errors as pages
    render       templates, fragments that keep themselves up to date
    shown        figures, times and evidence in words
    charts       rates over time as SVG
"""

from nsdata.manager.pages.mount import mount

__all__ = ["mount"]
