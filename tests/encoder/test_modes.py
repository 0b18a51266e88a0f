import threading

import torch
from torch import nn

from maya_encoder.modes import evaluating, evaluation_view, in_evaluation


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Sequential(nn.Dropout(0.5)))


def test_view_evaluates_while_the_model_still_trains():
    model, x = net().train(), torch.randn(4, 3)
    view = evaluation_view(model)
    assert torch.equal(view(x), view(x))
    assert all(part.training for part in model.modules())
    assert not any(part.training for part in view.modules())
    assert int(model[1].num_batches_tracked) == 0


def test_view_shares_the_tensors():
    model = net()
    view = evaluation_view(model)
    with torch.no_grad():
        model[0].weight.zero_()
    assert view[0].weight is model[0].weight
    assert view[1].running_mean is model[1].running_mean


def test_view_of_a_recurrent_layer_equals_it():
    model, x = nn.LSTM(3, 3, 2, dropout=0.5), torch.randn(2, 5, 3)
    view = evaluation_view(model.train())
    assert torch.equal(view(x)[0], view(x)[0])
    assert torch.equal(view(x)[0], model.eval()(x)[0])


def test_what_is_switched_on_a_view_stays_there():
    model = net()
    evaluation_view(model)[2][0].p = 0.9
    assert model[2][0].p == 0.5


def test_model_that_evaluates_already_is_taken_as_it_is():
    model = net().eval()
    assert in_evaluation(model) is model
    model[2].train()
    assert in_evaluation(model) is not model


def test_views_in_other_threads_do_not_meet():
    model, x = net().train(), torch.randn(64, 3)
    wanted, seen = evaluation_view(model)(x), []
    threads = [
        threading.Thread(target=lambda: seen.append(torch.equal(in_evaluation(model)(x), wanted)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 8
    assert model.training


def test_evaluating_gives_every_module_its_mode_back():
    model = net().train()
    model[1].eval()
    with evaluating(model):
        assert not any(part.training for part in model.modules())
    assert [part.training for part in model] == [True, False, True]
