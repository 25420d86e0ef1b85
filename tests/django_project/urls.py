"""A page of all photos, the admin, and images."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path

from django_project.models import Photo


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "page.html", {"photos": Photo.objects.order_by("pk")})


urlpatterns = [
    path("", page),
    path("admin/", admin.site.urls),
    path("img/", include("django_lazycrop.urls")),
]
